// Convolution as a matrix product whose operands are never written out: patches are gathered block by block, straight
// into the packed panels of the product (Chetlur et al., cuDNN: Efficient Primitives for Deep Learning, 2014). The
// input gradient of a strided convolution is cut into phases, the input pixels with the same remainder by the stride:
// each is a dense convolution of the gradient with some of the taps, so no multiplication by zero is made.
#include <algorithm>
#include <cmath>

#include "conv_taps.h"
#include "gemm.h"

namespace coolnn {
namespace {

// Taps beside each other join into one run where the pixels' channels lie without a gap.
std::vector<PatchRun> join_runs(const std::vector<Tap>& taps, int64_t channels, bool gapless) {
  std::vector<PatchRun> runs;
  for (size_t i = 0; i < taps.size(); i++) {
    const bool joins = gapless && i > 0 && taps[i].dy == taps[i - 1].dy && taps[i].dx == taps[i - 1].dx + 1;
    if (joins) runs.back().length += channels;
    else runs.push_back({taps[i].dy, taps[i].dx, int64_t(i) * channels, channels});
  }
  return runs;
}

// What the forward pass and the weight gradient see of the input.
struct InputPatches {
  std::vector<PatchRun> runs;
  PatchSource source;  // without data
  int64_t floats;      // of the input

  explicit InputPatches(const ConvShape& s) {
    runs = join_runs(output_taps(s), s.group_ic(), s.groups == 1);
    source = {nullptr, nullptr, s.ih, s.iw, s.ic, s.oh, s.ow, s.sh, s.sw, runs.data(), int64_t(runs.size())};
    floats = s.n * s.ih * s.iw * s.ic;
  }
  PatchSource of_group(const float* x, int64_t channel) const {
    PatchSource result = source;
    result.data = x + channel;
    result.end = x + floats;
    return result;
  }
};

// 1 x 1 without stride and padding: nothing is gathered.
bool pixels_are_rows(const ConvShape& s) {
  return s.kh == 1 && s.kw == 1 && s.oh == s.ih && s.ow == s.iw && s.sh == 1 && s.sw == 1;
}

// y (pixels x channels) = patches (pixels x taps of channels) times weights; one product a group.
class Forward final : public Kernel {
 public:
  // With a table for bfloat16 in that, which takes constant weights.
  explicit Forward(const ConvShape& s, const Bf16Table* bf16 = nullptr)
      : shape_(s),
        patches_(s),
        plan_(s.groups, s.n * s.oh * s.ow, s.group_oc(), s.kh * s.kw * s.group_ic(), GemmSplit::never, bf16),
        gather_(isa().conv.gather_rows) {
    pixels_are_rows_ = pixels_are_rows(s);
    if (s.constant_weights) packed_bytes = plan_.packed_bytes();
    else workspace_bytes = plan_.workspace_bytes();
  }

  void pack(const void* const* inputs, void* packed) const override {
    pack_b(plan_, Operands(*this, {inputs, nullptr, nullptr}), static_cast<float*>(packed));
  }
  void run(const Arguments& a) const override {
    const Operands operands(*this, a);
    multiply(plan_, operands, a.workspace, static_cast<const float*>(a.packed));
  }

 private:
  class Operands final : public GemmOperands {
   public:
    Operands(const Forward& kernel, const Arguments& a)
        : kernel_(kernel),
          shape_(kernel.shape_),
          x_(a.in(0)),
          weight_(a.in(1)),
          bias_(a.in(2)),
          residual_(shape_.finish.residual ? a.in(3) : nullptr),
          y_(a.outputs != nullptr ? a.out(0) : nullptr) {}
    PanelOrder a_order() const override { return PanelOrder::rows; }
    void pack_a(int64_t group, int64_t row, int64_t rows, int64_t k, int64_t depth, int64_t panels,
                float* to) const override {
      if (kernel_.pixels_are_rows_) {
        const float* from = x_ + row * shape_.ic + group * shape_.group_ic() + k;
        return kernel_.plan_.table->pack_a(from, shape_.ic, 1, rows, depth, PanelOrder::rows, panels, to);
      }
      const PatchSource source = kernel_.patches_.of_group(x_, group * shape_.group_ic());
      kernel_.gather_(source, row, rows, k, k + depth, to);
    }
    const float* lying_row(int64_t group, int64_t row, int64_t k, int64_t* stride) const override {
      *stride = shape_.ic;
      return kernel_.pixels_are_rows_ ? x_ + row * shape_.ic + group * shape_.group_ic() + k : nullptr;
    }
    const float* dense_rows(int64_t, int64_t row) const override {
      return kernel_.pixels_are_rows_ && shape_.groups == 1 ? x_ + row * shape_.ic : nullptr;
    }
    void pack_b(int64_t group, int64_t column, int64_t columns, int64_t k, int64_t depth, float* to) const override {
      const int64_t patch = kernel_.plan_.k;
      const float* from = weight_ + (group * shape_.group_oc() + column) * patch + k;
      kernel_.plan_.table->pack_b(from, 1, patch, depth, columns, depth, to);
    }
    float* output(int64_t group) const override { return y_ + group * shape_.group_oc(); }
    void output_rows(int64_t, int64_t row, int64_t rows, int64_t* offsets) const override {
      for (int64_t r = 0; r < rows; r++) offsets[r] = (row + r) * shape_.oc;
    }
    GemmEpilogue epilogue(int64_t group) const override {
      GemmEpilogue e;
      if (bias_ != nullptr) e.bias = bias_ + group * shape_.group_oc();
      if (residual_ != nullptr) e.residual = residual_ + group * shape_.group_oc();
      e.low = shape_.finish.low, e.high = shape_.finish.high;
      return e;
    }

   private:
    const Forward& kernel_;
    const ConvShape& shape_;
    const float *x_, *weight_, *bias_, *residual_;
    float* y_;
  };

  ConvShape shape_;
  InputPatches patches_;
  GemmPlan plan_;
  decltype(ConvTable::gather_rows) gather_;
  bool pixels_are_rows_;
};

struct ProductPhase : InputPhase {
  std::vector<PatchRun> runs;
  GemmPlan plan;

  ProductPhase(const ConvShape& s, InputPhase phase)
      : InputPhase(std::move(phase)),
        runs(join_runs(taps, s.group_oc(), s.groups == 1)),
        plan(s.groups, s.n * grid_h * grid_w, s.group_ic(), int64_t(taps.size()) * s.group_oc(), GemmSplit::never) {}
};

class InputGrad final : public Kernel {
 public:
  explicit InputGrad(const ConvShape& s)
      : shape_(s), gather_(isa().conv.gather_rows), pixels_are_rows_(pixels_are_rows(s)) {
    for (InputPhase& phase : input_phases(s)) {
      phases_.emplace_back(s, std::move(phase));
      workspace_bytes = std::max(workspace_bytes, phases_.back().plan.workspace_bytes());
    }
  }

  void run(const Arguments& a) const override {
    for (const ProductPhase& phase : phases_) {
      const Operands operands(*this, phase, a);
      multiply(phase.plan, operands, a.workspace);
    }
  }

 private:
  class Operands final : public GemmOperands {
   public:
    Operands(const InputGrad& kernel, const ProductPhase& phase, const Arguments& a)
        : kernel_(kernel), shape_(kernel.shape_), phase_(phase), grad_(a.in(0)), weight_(a.in(1)), dx_(a.out(0)) {}
    PanelOrder a_order() const override { return PanelOrder::rows; }
    void pack_a(int64_t group, int64_t row, int64_t rows, int64_t k, int64_t depth, int64_t panels,
                float* to) const override {
      if (kernel_.pixels_are_rows_) {
        const float* from = grad_ + row * shape_.oc + group * shape_.group_oc() + k;
        return phase_.plan.table->pack_a(from, shape_.oc, 1, rows, depth, PanelOrder::rows, panels, to);
      }
      const PatchSource source = {grad_ + group * shape_.group_oc(),
                                  grad_ + shape_.n * shape_.oh * shape_.ow * shape_.oc,
                                  shape_.oh,
                                  shape_.ow,
                                  shape_.oc,
                                  phase_.grid_h,
                                  phase_.grid_w,
                                  1,
                                  1,
                                  phase_.runs.data(),
                                  int64_t(phase_.runs.size())};
      kernel_.gather_(source, row, rows, k, k + depth, to);
    }
    const float* dense_rows(int64_t, int64_t row) const override {
      return kernel_.pixels_are_rows_ && shape_.groups == 1 ? grad_ + row * shape_.oc : nullptr;
    }
    void pack_b(int64_t group, int64_t column, int64_t columns, int64_t k, int64_t depth, float* to) const override {
      const GemmTable& table = *phase_.plan.table;
      const int64_t outputs = shape_.group_oc(), filter = shape_.kh * shape_.kw * shape_.group_ic();
      for (int64_t at = k; at < k + depth;) {
        const int64_t tap = at / outputs, output = at % outputs;
        const int64_t count = std::min(k + depth - at, outputs - output);
        const float* from = weight_ + (group * outputs + output) * filter +
                            phase_.taps[size_t(tap)].index * shape_.group_ic() + column;
        table.pack_b(from, filter, 1, count, columns, depth, to + (at - k) * table.tile_columns);
        at += count;
      }
    }
    float* output(int64_t group) const override { return dx_ + group * shape_.group_ic(); }
    void output_rows(int64_t, int64_t row, int64_t rows, int64_t* offsets) const override {
      for (int64_t r = row; r < row + rows; r++) {
        const int64_t x = r % phase_.grid_w, line = r / phase_.grid_w;
        const int64_t y = line % phase_.grid_h, n = line / phase_.grid_h;
        *offsets++ = ((n * shape_.ih + y * shape_.sh + phase_.py) * shape_.iw + x * shape_.sw + phase_.px) * shape_.ic;
      }
    }
    GemmEpilogue epilogue(int64_t) const override { return {}; }

   private:
    const InputGrad& kernel_;
    const ConvShape& shape_;
    const ProductPhase& phase_;
    const float *grad_, *weight_;
    float* dx_;
  };

  ConvShape shape_;
  std::vector<ProductPhase> phases_;
  decltype(ConvTable::gather_rows) gather_;
  bool pixels_are_rows_;
};

// dw (output channels x taps of channels) = grad^T (output channels x pixels) times patches (pixels x taps of channels).
class WeightGrad final : public Kernel {
 public:
  explicit WeightGrad(const ConvShape& s)
      : shape_(s),
        patches_(s),
        plan_(s.groups, s.group_oc(), s.kh * s.kw * s.group_ic(), s.n * s.oh * s.ow, GemmSplit::gladly),
        gather_(isa().conv.gather_panels) {
    workspace_bytes = plan_.workspace_bytes();
  }

  void run(const Arguments& a) const override {
    const Operands operands(*this, a);
    multiply(plan_, operands, a.workspace);
  }

 private:
  class Operands final : public GemmOperands {
   public:
    Operands(const WeightGrad& kernel, const Arguments& a)
        : kernel_(kernel), shape_(kernel.shape_), x_(a.in(0)), grad_(a.in(1)), dw_(a.out(0)) {}
    PanelOrder a_order() const override { return PanelOrder::depth; }
    void pack_a(int64_t group, int64_t row, int64_t rows, int64_t k, int64_t depth, int64_t panels,
                float* to) const override {
      const float* from = grad_ + k * shape_.oc + group * shape_.group_oc() + row;
      kernel_.plan_.table->pack_a(from, 1, shape_.oc, rows, depth, PanelOrder::depth, panels, to);
    }
    void pack_b(int64_t group, int64_t column, int64_t columns, int64_t k, int64_t depth, float* to) const override {
      const PatchSource source = kernel_.patches_.of_group(x_, group * shape_.group_ic());
      kernel_.gather_(source, k, depth, column, column + columns, to);
    }
    float* output(int64_t group) const override { return dw_ + group * kernel_.plan_.m * kernel_.plan_.n; }
    void output_rows(int64_t, int64_t row, int64_t rows, int64_t* offsets) const override {
      for (int64_t r = 0; r < rows; r++) offsets[r] = (row + r) * kernel_.plan_.n;
    }
    GemmEpilogue epilogue(int64_t) const override { return {}; }

   private:
    const WeightGrad& kernel_;
    const ConvShape& shape_;
    const float *x_, *grad_;
    float* dw_;
  };

  ConvShape shape_;
  InputPatches patches_;
  GemmPlan plan_;
  decltype(ConvTable::gather_panels) gather_;
};

bool accepts(const ConvShape&, ConvPass) { return true; }

// Multiply-adds on whole vectors of columns; the packing, which takes about as long as some multiply-adds a number; and
// the start of each run of a patch.
double cost(const ConvShape& s, ConvPass pass) {
  constexpr double GATHER = 4, COPY = 2, RUN_CYCLES = 15, PART_OF_PEAK = 0.9;
  const double lanes = isa().vector_floats;
  const auto whole = [&](double n) { return std::ceil(n / lanes) * lanes; };
  const double pixels = double(s.n) * s.oh * s.ow, taps = double(s.kh) * s.kw;
  const double ic = double(s.group_ic()), oc = double(s.group_oc());
  const double runs = s.groups == 1 ? double(s.kh) : taps;  // of one patch
  const bool gathers = pass == ConvPass::weight_grad || !pixels_are_rows(s);
  double products = 0, packed = 0, repeats = 1;
  switch (pass) {
    case ConvPass::forward:
      products = pixels * taps * ic * whole(oc);
      repeats = std::ceil(oc / 512);
      packed = pixels * taps * ic;
      break;
    case ConvPass::input_grad:
      products = pixels * taps * oc * whole(ic);
      repeats = std::ceil(ic / 512);
      packed = pixels * taps * oc;
      break;
    case ConvPass::weight_grad:
      products = pixels * oc * whole(taps * ic);
      repeats = std::ceil(oc / 224);
      packed = pixels * (oc + taps * ic);
      break;
  }
  const double packing = gathers ? GATHER * packed + RUN_CYCLES * lanes * pixels * runs : COPY * packed;
  return double(s.groups) * (products / PART_OF_PEAK + repeats * packing);
}

bool accepts_bf16(const ConvShape& s, ConvPass pass) {
  return pass == ConvPass::forward && s.bf16 && s.constant_weights && bf16() != nullptr && s.ic > 0 &&
         s.n * s.oc * s.oh * s.ow > 0;
}

// Products at twice the rate; then the weights, which are read while products go on, may set the pace.
double cost_bf16(const ConvShape& s, ConvPass) {
  constexpr double GATHER = 5, ROUND = 2, RUN_CYCLES = 30, PART_OF_PEAK = 1.7, WEIGHT_READ = 6;
  const double lanes = isa().vector_floats, columns = std::ceil(double(s.group_oc()) / lanes) * lanes;
  const double pixels = double(s.n) * s.oh * s.ow, taps = double(s.kh) * s.kw;
  const double depth = taps * double(s.group_ic()), runs = s.groups == 1 ? double(s.kh) : taps;
  const double rounding = pixels_are_rows(s) ? ROUND * depth : GATHER * depth + RUN_CYCLES * lanes * runs;
  const double repeats = std::ceil(double(s.group_oc()) / 512);
  return double(s.groups) * (std::max(pixels / PART_OF_PEAK, WEIGHT_READ) * depth * columns + repeats * pixels * rounding);
}

KernelPtr make_bf16(const ConvShape& shape, ConvPass) { return std::make_unique<Forward>(shape, bf16()); }

KernelPtr make(const ConvShape& shape, ConvPass pass) {
  switch (pass) {
    case ConvPass::forward: return std::make_unique<Forward>(shape);
    case ConvPass::input_grad: return std::make_unique<InputGrad>(shape);
    case ConvPass::weight_grad: return std::make_unique<WeightGrad>(shape);
  }
  return nullptr;
}

}  // namespace

const ConvAlgorithm implicit_gemm = {"implicit_gemm", true, false, accepts, cost, make};
const ConvAlgorithm implicit_gemm_bf16 = {"implicit_gemm_bf16", true, false, accepts_bf16, cost_bf16, make_bf16};

}  // namespace coolnn
