// matmul_update: the gradient of a linear layer's weights and the optimizer's step with it. Where the summed axis (the
// batch) is short, the gradient is made block by block and used up while it is in the cache: it is as large as the
// weights, and writing and reading it would take longer than all the rest. Else the two kernels run one after the other.
#include <algorithm>

#include "gemm.h"
#include "optimizer.h"
#include "parallel.h"
#include "rounding.h"

namespace coolnn {
namespace {

constexpr int64_t BLOCK_FLOATS = 56 << 10;  // of the gradient that are made at once: a part of the second-level cache
constexpr int64_t PACKED_FLOATS = 32 << 10;  // of B beside them
constexpr int64_t LEAST_COLUMNS = 256, MOST_COLUMNS = 2048, MOST_ROWS = 112;  // of a block
constexpr int64_t ENOUGH_BLOCKS = 16;       // so that threads wait little for the last one
constexpr int64_t PACKED_PANELS = 8;        // that make a chunk of packing B

constexpr size_t MOST_INPUTS = 6;  // of an update

// The inputs of the update alone: those of matmul_update without the product's, and a place for the gradient.
struct UpdateInputs {
  const void* all[MOST_INPUTS] = {};

  UpdateInputs(const Arguments& arguments, size_t count) {
    all[UPDATE_PARAM] = arguments.inputs[2];
    for (size_t i = UPDATE_GRAD + 1; i < count; i++) all[i] = arguments.inputs[i + 1];
  }
};

// The distances of a matrix's rows and columns, in floats.
struct Strides {
  int64_t row, column;
};

// Whether the parts add up the same numbers in the same order as the matrix product alone does.
bool goes_in_parts(int64_t m, int64_t n, int64_t k) {
  const int64_t narrow = isa().gemm.most_narrow_rows;
  return m > narrow && n > narrow && k > 0 && k < GEMM_DEPTH;
}

// With a few numbers in each sum memory sets the pace, and the sums are made where the update would read them.
class RowwiseUpdate final : public Kernel {
 public:
  static bool accepts(int64_t k, Strides b) { return k <= MOST_DEPTH && b.column == 1; }

  RowwiseUpdate(int64_t m, int64_t n, int64_t k, Strides a, Strides b, std::unique_ptr<Update> update, size_t inputs)
      : m_(m), n_(n), k_(k), a_(a), b_(b), update_(std::move(update)), inputs_(inputs) {
    algorithm = "rowwise";
  }

  void run(const Arguments& arguments) const override {
    const UpdateInputs inputs(arguments, inputs_);
    const int64_t row_blocks = ceil_div(m_, ROWS);
    parallel_for(row_blocks * ceil_div(n_, COLUMNS), [&](int64_t block, int) {
      const int64_t first = block % row_blocks * ROWS, column = block / row_blocks * COLUMNS;
      const int64_t columns = std::min(COLUMNS, n_ - column);
      GradientSource grad = {nullptr, nullptr, a_.column, arguments.in(1) + column, b_.row, k_, ROWS_AHEAD * n_};
      for (int64_t row = first; row < std::min(first + ROWS, m_); row++) {
        grad.a = arguments.in(0) + row * a_.row;
        const int64_t begin = row * n_ + column;
        update_->apply(inputs.all, arguments.outputs, grad, begin, begin + columns);
      }
    });
  }

 private:
  static constexpr int64_t MOST_DEPTH = 16;
  static constexpr int64_t ROWS = 64, COLUMNS = 512;  // of a chunk: its part of B stays in the first-level cache
  static constexpr int64_t ROWS_AHEAD = 2;            // and parts of rows are fetched before they are needed

  const int64_t m_, n_, k_;
  const Strides a_, b_;
  const std::unique_ptr<Update> update_;
  const size_t inputs_;
};

// C (m x n) = A B of which no entry is written: each block goes into an update at once.
class BlockwiseUpdate final : public Kernel {
 public:
  BlockwiseUpdate(int64_t m, int64_t n, int64_t k, Strides a, Strides b, std::unique_ptr<Update> update, size_t inputs)
      : m_(m), n_(n), k_(k), a_(a), b_(b), update_(std::move(update)), inputs_(inputs), table_(isa().gemm) {
    const int64_t tile = table_.tile_columns;
    columns_ = std::clamp(PACKED_FLOATS / k, LEAST_COLUMNS, MOST_COLUMNS) / tile * tile;
    const int64_t column_blocks = ceil_div(n, columns_);
    // Whole tiles of rows, fewer where there would be too few blocks.
    const int64_t most = std::min(MOST_ROWS, BLOCK_FLOATS / columns_) / table_.tile_rows;
    const int64_t wanted = ceil_div(m * column_blocks, ENOUGH_BLOCKS * table_.tile_rows);
    rows_ = std::clamp<int64_t>(wanted, 1, std::max<int64_t>(1, most)) * table_.tile_rows;
    row_blocks_ = ceil_div(m, rows_);
    blocks_ = row_blocks_ * column_blocks;
    workspace_bytes = size_t(round_up(n, tile) * k) * sizeof(float);
    algorithm = "blockwise";
  }

  void run(const Arguments& arguments) const override {
    float* const packed = static_cast<float*>(arguments.workspace);
    const int64_t group = PACKED_PANELS * table_.tile_columns;
    parallel_for(ceil_div(n_, group), [&](int64_t chunk, int) {
      const int64_t column = chunk * group;
      table_.pack_b(arguments.in(1) + column * b_.column, b_.row, b_.column, k_, std::min(group, n_ - column), k_,
                    packed + column * k_);
    });
    const UpdateInputs inputs(arguments, inputs_);
    parallel_for(blocks_, [&](int64_t block, int) {
      // Rows run fastest: so blocks that follow each other share their columns of B.
      const int64_t row = block % row_blocks_ * rows_, column = block / row_blocks_ * columns_;
      const int64_t rows = std::min(rows_, m_ - row), columns = std::min(columns_, n_ - column);
      const float* const grad = multiply(arguments.in(0), packed, row, rows, column, columns);
      for (int64_t r = 0; r < rows; r++) {
        const int64_t begin = (row + r) * n_ + column;
        update_->apply(inputs.all, arguments.outputs, {grad + r * columns_}, begin, begin + columns);
      }
    });
  }

 private:
  // A block of C, `columns_` floats from row to row, in memory of this thread.
  const float* multiply(const float* a, const float* packed_b, int64_t row, int64_t rows, int64_t column,
                        int64_t columns) const {
    const PanelOrder order = a_.row == 1 ? PanelOrder::depth : PanelOrder::rows;
    const int64_t panels = ceil_div(rows, table_.tile_rows);
    const int64_t a_floats = panels * table_.tile_rows * (order == PanelOrder::depth ? k_ : GEMM_ROW_STRIDE);
    float* const c = thread_scratch(size_t(rows_ * columns_ + a_floats + 2 * rows + 1));
    float* const packed_a = c + rows_ * columns_;
    int64_t* const offsets = reinterpret_cast<int64_t*>(packed_a + a_floats + a_floats % 2);
    for (int64_t r = 0; r < rows; r++) offsets[r] = r * columns_;
    table_.pack_a(a + row * a_.row, a_.row, a_.column, rows, k_, order, panels, packed_a);
    table_.multiply({packed_a, order, panels, packed_b + column * k_, table_.tile_columns, k_ * table_.tile_columns, rows,
                     columns, k_, c, offsets, {}, false, nullptr, 0});
    return c;
  }

  const int64_t m_, n_, k_;
  const Strides a_, b_;
  const std::unique_ptr<Update> update_;
  const size_t inputs_;
  const GemmTable& table_;
  int64_t rows_, columns_, row_blocks_, blocks_;
};

// The product's kernel, then the update's.
class UpdateAfterProduct final : public Kernel {
 public:
  UpdateAfterProduct(KernelPtr product, std::unique_ptr<Update> update, size_t inputs, const Spec& grad)
      : product_(std::move(product)), update_(std::move(update)), inputs_(inputs), elements_(grad.elements()) {
    grad_bytes_ = round_up(int64_t(grad.bytes()), 64);
    workspace_bytes = size_t(grad_bytes_) + product_->workspace_bytes;
    algorithm = product_->algorithm;
  }

  void run(const Arguments& arguments) const override {
    constexpr int64_t GRAIN = 1 << 14;
    void* grad = arguments.workspace;
    product_->run({arguments.inputs, &grad, static_cast<char*>(arguments.workspace) + grad_bytes_});
    const UpdateInputs inputs(arguments, inputs_);
    parallel_range(elements_, GRAIN, [&](int64_t begin, int64_t end) {
      update_->apply(inputs.all, arguments.outputs, {static_cast<const float*>(grad) + begin}, begin, end);
    });
  }

 private:
  const KernelPtr product_;
  const std::unique_ptr<Update> update_;
  const size_t inputs_;
  const int64_t elements_;
  int64_t grad_bytes_;
};

// inputs: a, b (the product's), then the update's without the gradient; outputs: the update's
KernelPtr make_matmul_update(const Problem& p) {
  if (p.inputs.size() < 4 || p.inputs.size() > MOST_INPUTS + 1)
    throw std::invalid_argument("matmul_update takes a product's inputs and an optimizer's");
  const Spec &a = p.inputs[0], &b = p.inputs[1], &param = p.inputs[2];
  if (a.rank != 2 || b.rank != 2 || param.rank != 2) return nullptr;
  Problem step{p.text("update"), p.attributes, {param, param}, p.outputs};
  step.inputs.insert(step.inputs.end(), p.inputs.begin() + 3, p.inputs.end());
  std::unique_ptr<Update> update = make_update(step);
  KernelPtr product = make_kernel(Problem{"matmul", p.attributes, {a, b}, {param}});
  if (update == nullptr || product == nullptr) return nullptr;

  const bool turn_a = p.integer("transpose_a") != 0, turn_b = p.integer("transpose_b") != 0;
  const int64_t m = param.shape[0], n = param.shape[1], k = a.shape[turn_a ? 0 : 1];
  if (!goes_in_parts(m, n, k))
    return std::make_unique<UpdateAfterProduct>(std::move(product), std::move(update), step.inputs.size(), param);
  const Strides a_strides = {a.stride[turn_a ? 1 : 0], a.stride[turn_a ? 0 : 1]};
  const Strides b_strides = {b.stride[turn_b ? 1 : 0], b.stride[turn_b ? 0 : 1]};
  if (RowwiseUpdate::accepts(k, b_strides))
    return std::make_unique<RowwiseUpdate>(m, n, k, a_strides, b_strides, std::move(update),
                                           step.inputs.size());
  return std::make_unique<BlockwiseUpdate>(m, n, k, a_strides, b_strides, std::move(update), step.inputs.size());
}

}  // namespace

Family matmul_update_family() { return {{"matmul_update", make_matmul_update}}; }

}  // namespace coolnn
