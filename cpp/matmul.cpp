// matmul and linear: the matrix product on tensors of any rank.
#include <algorithm>

#include "finish.h"
#include "gemm.h"
#include "parallel.h"
#include "rounding.h"

namespace coolnn {
namespace {

// A matrix for each item of a batch, anywhere in memory.
struct Matrices {
  int64_t row_stride, column_stride;
  std::vector<int64_t> offsets;  // of each item

  Matrices transposed() const { return {column_stride, row_stride, offsets}; }
};

class StridedOperands final : public GemmOperands {
 public:
  const GemmTable* table;
  const Matrices *a, *b, *c;
  const float *a_data, *b_data;
  GemmEpilogue finish;
  int64_t depth;
  float* c_data;

  static PanelOrder order(const Matrices& a) {
    return a.row_stride == 1 && a.column_stride != 1 ? PanelOrder::depth : PanelOrder::rows;
  }
  PanelOrder a_order() const override { return order(*a); }
  void pack_a(int64_t item, int64_t row, int64_t rows, int64_t k, int64_t depth, int64_t panels,
              float* to) const override {
    const float* from = a_data + a->offsets[size_t(item)] + row * a->row_stride + k * a->column_stride;
    table->pack_a(from, a->row_stride, a->column_stride, rows, depth, a_order(), panels, to);
  }
  const float* lying_row(int64_t item, int64_t row, int64_t k, int64_t* stride) const override {
    *stride = a->row_stride;
    return a->column_stride == 1 ? a_data + a->offsets[size_t(item)] + row * a->row_stride + k : nullptr;
  }
  const float* dense_rows(int64_t item, int64_t row) const override {
    const bool dense = a->column_stride == 1 && a->row_stride == depth;
    return dense ? a_data + a->offsets[size_t(item)] + row * a->row_stride : nullptr;
  }
  void pack_b(int64_t item, int64_t column, int64_t columns, int64_t k, int64_t depth, float* to) const override {
    const float* from = b_data + b->offsets[size_t(item)] + k * b->row_stride + column * b->column_stride;
    table->pack_b(from, b->row_stride, b->column_stride, depth, columns, depth, to);
  }
  float* output(int64_t item) const override { return c_data + c->offsets[size_t(item)]; }
  void output_rows(int64_t, int64_t row, int64_t rows, int64_t* offsets) const override {
    for (int64_t r = 0; r < rows; r++) offsets[r] = (row + r) * c->row_stride;
  }
  GemmEpilogue epilogue(int64_t item) const override {
    GemmEpilogue e = finish;
    if (e.residual != nullptr) e.residual += c->offsets[size_t(item)];
    return e;
  }
};

// The batch axes of an operand, broadcast to those of the result; the last two axes are the matrix. A tensor of rank 1
// counts as one row.
Matrices matrices_of(const Spec& spec, const Spec& result) {
  Matrices m = {spec.rank > 1 ? spec.stride[spec.rank - 2] : 0, spec.stride[spec.rank - 1], {0}};
  const int batch_axes = result.rank - 2;
  for (int axis = 0; axis < batch_axes; axis++) {
    const int own = axis - (result.rank - spec.rank);
    const int64_t stride = own >= 0 && spec.shape[own] != 1 ? spec.stride[own] : 0;
    std::vector<int64_t> next;
    next.reserve(m.offsets.size() * size_t(result.shape[axis]));
    for (const int64_t offset : m.offsets)
      for (int64_t i = 0; i < result.shape[axis]; i++) next.push_back(offset + i * stride);
    m.offsets = std::move(next);
  }
  return m;
}

bool evenly_spaced(const std::vector<int64_t>& offsets, int64_t step) {
  for (size_t i = 0; i < offsets.size(); i++)
    if (offsets[i] != int64_t(i) * step) return false;
  return true;
}

// If every item has the same B, and the rows of A and C go on from item to item, the batch is one tall product.
void merge_batch(Matrices& a, Matrices& b, Matrices& c, int64_t& m) {
  const int64_t batch = int64_t(c.offsets.size());
  if (batch < 2 || !evenly_spaced(b.offsets, 0)) return;
  if (m == 1) {  // then the row strides are free to choose
    a.row_stride = a.offsets[1];
    c.row_stride = c.offsets[1];
  }
  if (!evenly_spaced(a.offsets, m * a.row_stride) || !evenly_spaced(c.offsets, m * c.row_stride)) return;
  m *= batch;
  a.offsets = b.offsets = c.offsets = {0};
}

class ProductKernel final : public Kernel {
 public:
  // With `constant_b` the second operand stays as it is: see Kernel::pack. Then `bf16` rounds both, where that is faster.
  ProductKernel(Matrices a, Matrices b, Matrices c, int64_t m, int64_t n, int64_t k, bool has_bias, bool constant_b = false,
                const Bf16Table* bf16 = nullptr, const Finish& finish = {})
      : a_(std::move(a)), b_(std::move(b)), c_(std::move(c)), table_(&isa().gemm), has_bias_(has_bias), finish_(finish) {
    merge_batch(a_, b_, c_, m);
    // The tile writes rows with contiguous columns: turn the product over where that suits C. (A bias belongs to the
    // columns, so it forbids that.)
    if (!has_bias && c_.row_stride == 1 && (c_.column_stride != 1 || n == 1)) {
      turned_ = true;
      const Matrices new_a = b_.transposed(), new_b = a_.transposed();
      a_ = new_a, b_ = new_b, c_ = c_.transposed();
      std::swap(m, n);
    }
    const int64_t batch = int64_t(c_.offsets.size());
    const bool dense = n <= 1 || c_.column_stride == 1;
    const bool may_split = dense && (m == 1 || c_.row_stride == n) && evenly_spaced(c_.offsets, m * n);
    // Rounding A costs about as much as some columns of products.
    constexpr int64_t LEAST_COLUMNS = 32;
    const bool lies = b_.row_stride == 1 && a_.column_stride == 1, packs = constant_b && !turned_ && batch == 1;
    if (!packs || !lies || n < LEAST_COLUMNS || m * k == 0) bf16 = nullptr;
    const bool splits = may_split && !finish.any() && !constant_b;
    plan_ = GemmPlan(batch, m, n, k, splits ? GemmSplit::if_needed : GemmSplit::never, bf16);
    workspace_bytes = plan_.workspace_bytes();
    if (!dense) {
      staged_ = Matrices{n, 1, {}};
      for (int64_t i = 0; i < batch; i++) staged_.offsets.push_back(i * m * n);
      workspace_bytes = size_t(batch * m * n) * sizeof(float);
    }
    const bool dots = b_.row_stride == 1 && a_.column_stride == 1, columns = b_.column_stride == 1;
    narrow_ = dense && batch == 1 && m >= 1 && m <= table_->most_narrow_rows && (dots || columns);
    if (narrow_) workspace_bytes = 0;
    if (narrow_ && bf16 != nullptr) {
      words_ = round_up(ceil_div(k, 2), bf16->vector_words);
      workspace_bytes = size_t(m * words_) * sizeof(uint32_t);
      packed_bytes = size_t(round_up(n, bf16->narrow_columns(m)) * words_) * sizeof(uint32_t);
    }
    if (packs && !narrow_) {
      packed_bytes = plan_.packed_bytes();
      if (packed_bytes > 0 && dense) workspace_bytes = 0;
    }
    algorithm = std::string(narrow_ ? "narrow" : "gemm") + (bf16 != nullptr ? "_bf16" : "");
  }

  // Where the result is brought into order afterwards, what follows must wait for that.
  bool finishes() const { return !staged(); }

  void pack(const void* const* inputs, void* packed) const override {
    if (words_ > 0) return pack_narrow(static_cast<const float*>(inputs[1]), static_cast<uint32_t*>(packed));
    if (packed_bytes > 0) pack_b(plan_, operands({inputs, nullptr, nullptr}), static_cast<float*>(packed));
  }
  void run(const Arguments& arguments) const override {
    if (words_ > 0) return run_narrow_bf16(arguments);
    if (narrow_) return run_narrow(arguments);
    StridedOperands given = operands(arguments);
    given.c_data = staged() ? static_cast<float*>(arguments.workspace) : arguments.out(0);
    if (!staged()) given.finish = epilogue(arguments);
    else given.finish.bias = has_bias_ ? arguments.in(2) : nullptr;
    multiply(plan_, given, arguments.workspace, packed_bytes > 0 ? static_cast<const float*>(arguments.packed) : nullptr);
    if (staged()) scatter(static_cast<const float*>(arguments.workspace), arguments.out(0));
  }

 private:
  bool staged() const { return !staged_.offsets.empty(); }

  StridedOperands operands(const Arguments& arguments) const {
    StridedOperands result;
    result.table = table_;
    result.depth = plan_.k;
    result.a = &a_, result.b = &b_, result.c = staged() ? &staged_ : &c_;
    result.a_data = arguments.in(turned_ ? 1 : 0), result.b_data = arguments.in(turned_ ? 0 : 1);
    return result;
  }
  GemmEpilogue epilogue(const Arguments& arguments) const {
    GemmEpilogue e;
    if (has_bias_) e.bias = arguments.in(2);
    if (finish_.residual) e.residual = arguments.in(3);
    e.low = finish_.low, e.high = finish_.high;
    return e;
  }
  void run_narrow(const Arguments& arguments) const {
    const float *a = arguments.in(turned_ ? 1 : 0), *b = arguments.in(turned_ ? 0 : 1);
    const GemmEpilogue whole = epilogue(arguments);
    constexpr int64_t WORK = 1 << 15;     // multiply-adds that are worth a chunk: memory sets the pace
    constexpr int64_t SIDE_BY_SIDE = 512;  // columns that are: memory likes long runs
    constexpr int64_t DOTS = 24;           // columns that are summed in turn while a part of A is in the cache
    const int64_t unit = b_.column_stride != 1 ? DOTS : std::clamp<int64_t>(plan_.n / 16 / 64 * 64, 64, SIDE_BY_SIDE);
    const int64_t grain = std::max(unit, WORK / std::max<int64_t>(1, plan_.m * plan_.k) / unit * unit);
    parallel_range(plan_.n, grain, [&](int64_t begin, int64_t end) {
      GemmEpilogue own = whole;
      if (own.bias != nullptr) own.bias += begin;
      if (own.residual != nullptr) own.residual += begin;
      table_->multiply_narrow({a, a_.row_stride, a_.column_stride, plan_.m, b + begin * b_.column_stride, b_.row_stride,
                               b_.column_stride, end - begin, plan_.k, arguments.out(0) + begin, c_.row_stride, own});
    });
  }

  void pack_narrow(const float* b, uint32_t* packed) const {
    const int64_t group = plan_.bf16->narrow_columns(plan_.m);
    parallel_range(ceil_div(plan_.n, group), 1, [&](int64_t begin, int64_t end) {
      const int64_t first = begin * group, columns = std::min(end * group, plan_.n) - first;
      plan_.bf16->pack_narrow(b + first * b_.column_stride, b_.column_stride, columns, plan_.k, plan_.m,
                              packed + first * words_);
    });
  }
  void run_narrow_bf16(const Arguments& arguments) const {
    const GemmEpilogue whole = epilogue(arguments);
    uint32_t* const a = static_cast<uint32_t*>(arguments.workspace);
    constexpr int64_t WORK = 1 << 16;  // multiply-adds that are worth a chunk
    const int64_t group = plan_.bf16->narrow_columns(plan_.m);
    const int64_t grain = round_up(items_within(WORK, plan_.m * plan_.k), group);
    plan_.bf16->round_dense(arguments.in(0), a_.row_stride, plan_.m, plan_.k, a);
    parallel_range(plan_.n, grain, [&](int64_t begin, int64_t end) {
      GemmEpilogue own = whole;
      if (own.bias != nullptr) own.bias += begin;
      if (own.residual != nullptr) own.residual += begin;
      plan_.bf16->multiply_narrow({a, plan_.m, words_, static_cast<const uint32_t*>(arguments.packed) + begin * words_,
                                   end - begin, arguments.out(0) + begin, c_.row_stride, own});
    });
  }

  void scatter(const float* from, float* to) const {
    const int64_t n = plan_.n;
    parallel_range(plan_.batch * plan_.m, items_within(1 << 14, n), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        float* target = to + c_.offsets[size_t(row / plan_.m)] + row % plan_.m * c_.row_stride;
        for (int64_t i = 0; i < n; i++) target[i * c_.column_stride] = from[row * n + i];
      }
    });
  }

  Matrices a_, b_, c_;
  Matrices staged_;  // of the dense result that is scattered into C afterwards; empty where C is written directly
  const GemmTable* table_;
  GemmPlan plan_;
  bool turned_ = false;  // C^T = B^T A^T is computed
  bool has_bias_;        // one number a column
  Finish finish_;
  bool narrow_ = false;  // few rows: dot products, without packing in float32
  int64_t words_ = 0;    // of each row of A where few rows are rounded to bfloat16
};

bool all_float(const Problem& p) {
  const auto is_float = [](const Spec& s) { return !s.present() || s.dtype == DType::f32; };
  return std::all_of(p.inputs.begin(), p.inputs.end(), is_float) && is_float(p.outputs[0]);
}

KernelPtr make_matmul(const Problem& p) {
  const Spec &a = p.inputs[0], &b = p.inputs[1], &c = p.outputs[0];
  if (!all_float(p) || a.rank < 2 || b.rank < 2 || c.rank < 2) return nullptr;
  const bool transpose_a = p.integer("transpose_a", 0) != 0, transpose_b = p.integer("transpose_b", 0) != 0;
  const int64_t k = a.shape[a.rank - (transpose_a ? 2 : 1)];
  Matrices first = matrices_of(a, c), second = matrices_of(b, c);
  if (transpose_a) first = first.transposed();
  if (transpose_b) second = second.transposed();
  return std::make_unique<ProductKernel>(first, second, matrices_of(c, c), c.shape[c.rank - 2], c.shape[c.rank - 1], k,
                                         false);
}

std::unique_ptr<ProductKernel> linear(const Problem& p, const Finish& finish) {
  const Spec &x = p.inputs[0], &weight = p.inputs[1], &y = p.outputs[0];
  if (!all_float(p) || x.rank < 1 || weight.rank != 2) return nullptr;
  const bool has_bias = p.inputs.size() > 2 && p.inputs[2].present();
  const int64_t rows = y.rank > 1 ? y.shape[y.rank - 2] : 1;
  return std::make_unique<ProductKernel>(matrices_of(x, y), matrices_of(weight, y).transposed(), matrices_of(y, y), rows,
                                         y.shape[y.rank - 1], x.shape[x.rank - 1], has_bias, p.constant_weights,
                                         p.bf16 ? bf16() : nullptr, finish);
}

KernelPtr make_linear(const Problem& p) { return linear(p, {}); }

KernelPtr make_linear_fused(const Problem& p) {
  const Finish finish(p);
  std::unique_ptr<ProductKernel> kernel = linear(p, finish);
  if (kernel == nullptr || kernel->finishes()) return kernel;
  return with_finish(std::move(kernel), finish, p.outputs[0].elements());
}

// Channels of each picture times channels: with pixels as rows, rows^T rows.
KernelPtr make_gram_matrix(const Problem& p) {
  const Spec &x = p.inputs[0], &y = p.outputs[0];
  if (!all_float(p)) return nullptr;
  const int64_t channels = x.shape[1], pixels = x.shape[2] * x.shape[3];
  Matrices rows = {channels, 1, {}};
  for (int64_t n = 0; n < x.shape[0]; n++) rows.offsets.push_back(n * pixels * channels);
  const auto product = std::make_shared<ProductKernel>(rows.transposed(), rows, matrices_of(y, y), channels, channels,
                                                       pixels, false);
  const auto run = [product](const Arguments& a) {
    const void* const both[] = {a.inputs[0], a.inputs[0], nullptr};
    product->run({both, a.outputs, a.workspace});
  };
  return make_function_kernel(product->algorithm, run, product->workspace_bytes);
}

}  // namespace

Family gemm_family() {
  return {
      {"matmul", make_matmul},
      {"gram_matrix", make_gram_matrix},
      {"linear", make_linear},
      {"linear_fused", make_linear_fused},
  };
}

}  // namespace coolnn
