// conv2d_backward: all gradients of a convolution (and of a relu and a max-pooling behind it) in one kernel. The form
// here, for any shape, composes the kernels of the single gradients; the mask of the relu is applied, and the gradient
// of the bias summed, in one pass before them.
#include <algorithm>
#include <optional>

#include "conv_backward.h"
#include "parallel.h"
#include "reduce.h"
#include "rounding.h"

namespace coolnn {
namespace {

constexpr int64_t GRAIN = 1 << 15;  // numbers of a chunk

size_t aligned(size_t bytes) { return size_t(round_up(int64_t(bytes), 64)); }

class ComposedBackward final : public Kernel {
 public:
  // Null where the engine lacks one of the parts.
  static KernelPtr make(const Problem& p) {
    auto kernel = std::make_unique<ComposedBackward>();
    return kernel->prepare(p) ? std::move(kernel) : nullptr;
  }

  void run(const Arguments& a) const override {
    char* free = static_cast<char*>(a.workspace);
    const float* grad = a.in(BACKWARD_GRAD);
    float* const bias = bias_output_ < 0 ? nullptr : a.out(bias_output_);
    if (mask_ != nullptr) {
      float* const masked = reinterpret_cast<float*>(free);
      free += aligned(size_t(elements_) * sizeof(float));
      char* const totals = free;
      // With pooling in between the bias gets its sum later.
      apply_mask(grad, a.in(BACKWARD_Y), masked, pooling_ ? nullptr : bias, reinterpret_cast<double*>(totals));
      grad = masked;
    }
    if (pooling_) {
      float* const spread = reinterpret_cast<float*>(free);
      free += spread_bytes_;
      run_part(*pooling_, {grad, a.in<void>(BACKWARD_INDICES)}, spread, free);
      grad = spread;
    }
    if (bias != nullptr && (pooling_ || mask_ == nullptr)) run_part(*sum_, {grad}, bias, free);
    if (input_grad_) run_part(*input_grad_, {grad, a.in<void>(BACKWARD_WEIGHT)}, a.outputs[0], free);
    if (weight_grad_) run_part(*weight_grad_, {a.in<void>(BACKWARD_X), grad}, a.outputs[input_grad_ ? 1 : 0], free);
  }

 private:
  static void run_part(const Kernel& part, std::initializer_list<const void*> inputs, void* output, void* workspace) {
    const void* given[BACKWARD_INPUTS] = {};  // as many as any kernel here may look at
    std::copy(inputs.begin(), inputs.end(), given);
    part.run(Arguments{given, &output, workspace});
  }

  bool prepare(const Problem& p) {
    const std::vector<int64_t> wants = p.integers("wants"), size = p.integers("output_size");
    const Spec& grad = p.inputs[BACKWARD_GRAD];
    const Spec sent(DType::f32, {grad.shape[0], grad.shape[1], size[0], size[1]});
    std::vector<KernelPtr*> made;
    size_t output = 0;
    const auto part = [&](KernelPtr& kernel, const char* name, std::vector<Spec> inputs, const Spec& result) {
      kernel = make_kernel(Problem{name, part_attributes(p, name), std::move(inputs), {result}});
      made.push_back(&kernel);
    };
    if (p.inputs[BACKWARD_INDICES].present()) part(pooling_, "max_pool2d_grad", {grad, p.inputs[BACKWARD_INDICES]}, sent);
    if (wants[0]) part(input_grad_, "conv2d_input_grad", {sent, p.inputs[BACKWARD_WEIGHT]}, p.outputs[output++]);
    if (wants[1]) part(weight_grad_, "conv2d_weight_grad", {p.inputs[BACKWARD_X], sent}, p.outputs[output++]);
    if (wants[2]) {
      bias_output_ = int(output);
      part(sum_, "sum", {sent}, p.outputs[output]);
    }
    if (std::any_of(made.begin(), made.end(), [](KernelPtr* kernel) { return *kernel == nullptr; })) return false;

    size_t most = 0;
    for (KernelPtr* kernel : made) most = std::max(most, (*kernel)->workspace_bytes);
    elements_ = grad.elements();
    spread_bytes_ = aligned(sent.bytes());
    if (p.inputs[BACKWARD_Y].present()) {
      mask_ = isa().elementwise.gradient[int(Gradient::relu_grad)];
      workspace_bytes += aligned(grad.bytes());
      if (wants[2] && elements_ > 0) {
        ReductionStage stage(Reduction::sum, 1, elements_ / grad.shape[1], grad.shape[1], 1);
        if (stage.may_make_rows()) {
          channels_ = grad.shape[1];
          most = std::max(most, stage.workspace_bytes());
          rows_.emplace(std::move(stage));
        }
      }
    }
    workspace_bytes += (pooling_ ? spread_bytes_ : 0) + most;
    algorithm = input_grad_ ? input_grad_->algorithm : weight_grad_->algorithm;
    if (input_grad_ && weight_grad_ && weight_grad_->algorithm != algorithm) algorithm += "+" + weight_grad_->algorithm;
    return true;
  }

  static std::vector<std::pair<std::string, Attribute>> part_attributes(const Problem& p, const std::string& name) {
    if (name == "sum") return {{"dims", std::vector<int64_t>{0, 2, 3}}, {"keepdim", int64_t(0)}};
    if (name == "max_pool2d_grad") {
      const std::vector<int64_t> pool = p.integers("pool");
      const auto numbers = [&](size_t first, size_t count) {
        return std::vector<int64_t>(pool.begin() + int64_t(first), pool.begin() + int64_t(first + count));
      };
      if (pool.size() != 10) throw std::invalid_argument("conv2d_backward: pool must be ten numbers");
      return {{"kernel_size", numbers(0, 2)}, {"stride", numbers(2, 2)}, {"padding", numbers(4, 4)},
              {"dilation", numbers(8, 2)}, {"input_size", p.integers("output_size")}};
    }
    return p.attributes;  // of which the two gradients read those that are theirs
  }

  // masked = grad where y > 0, else 0, and the sums of its channels.
  void apply_mask(const float* grad, const float* y, float* masked, float* bias, double* totals) const {
    const auto mask = [&](int64_t begin, int64_t end) { mask_(grad + begin, y + begin, masked + begin, end - begin, {}); };
    if (bias != nullptr && rows_) {
      rows_->run_making_rows([&](int64_t first, int64_t rows) { mask(first * channels_, (first + rows) * channels_); },
                             masked, bias, totals);
      return;
    }
    parallel_range(elements_, GRAIN, mask);
    if (bias != nullptr) run_part(*sum_, {masked}, bias, totals);
  }

  KernelPtr pooling_, input_grad_, weight_grad_, sum_;
  ElementwiseTable::GradientFunction mask_ = nullptr;
  std::optional<ReductionStage> rows_;  // sums while it masks
  int bias_output_ = -1;
  int64_t elements_ = 0, channels_ = 0;
  size_t spread_bytes_ = 0;
};

// Throws where inputs, outputs and attributes do not fit together; false where types or ranks have no kernel.
bool parse(const Problem& p, ConvBackwardShape& shape) {
  if (p.inputs.size() != BACKWARD_INPUTS) throw std::invalid_argument("conv2d_backward takes five inputs");
  const std::vector<int64_t> wants = p.integers("wants"), in = p.integers("input_size"), out = p.integers("output_size");
  const std::vector<int64_t> kernel = p.integers("kernel_size"), stride = p.integers("stride");
  const std::vector<int64_t> padding = p.integers("padding"), dilation = p.integers("dilation");
  const bool pairs = in.size() == 2 && out.size() == 2 && kernel.size() == 2 && stride.size() == 2 && dilation.size() == 2;
  if (!pairs || wants.size() != 3 || padding.size() != 4 || p.outputs.size() != size_t(wants[0] + wants[1] + wants[2]))
    throw std::invalid_argument("conv2d_backward: attributes and outputs do not fit together");
  for (const Spec& spec : p.inputs) {
    const DType wanted = &spec == &p.inputs[BACKWARD_INDICES] ? DType::i32 : DType::f32;
    if (spec.present() && (spec.rank != 4 || spec.dtype != wanted)) return false;
  }
  const Spec &grad = p.inputs[BACKWARD_GRAD], &x = p.inputs[BACKWARD_X], &weight = p.inputs[BACKWARD_WEIGHT];
  if ((wants[0] != 0 && !weight.present()) || (wants[1] != 0 && !x.present()))
    throw std::invalid_argument("conv2d_backward: an input that a wanted gradient needs is absent");
  ConvShape& c = shape.conv;
  c.groups = p.integer("groups");
  c.n = grad.shape[0], c.oc = grad.shape[1], c.oh = out[0], c.ow = out[1];
  c.ic = x.present() ? x.shape[1] : weight.shape[1] * c.groups, c.ih = in[0], c.iw = in[1];
  c.kh = kernel[0], c.kw = kernel[1], c.sh = stride[0], c.sw = stride[1], c.dh = dilation[0], c.dw = dilation[1];
  c.pt = padding[0], c.pl = padding[1], c.pb = padding[2], c.pr = padding[3];
  shape.masked = p.inputs[BACKWARD_Y].present(), shape.pooled = p.inputs[BACKWARD_INDICES].present();
  shape.gh = grad.shape[2], shape.gw = grad.shape[3];
  shape.pooled_by_two = shape.pooled && p.integers("pool") == std::vector<int64_t>{2, 2, 2, 2, 0, 0, 0, 0, 1, 1} &&
                        2 * shape.gh <= c.oh && 2 * shape.gw <= c.ow;
  int* const places[] = {&shape.dx, &shape.dweight, &shape.dbias};
  for (int i = 0, output = 0; i < 3; i++) *places[i] = wants[size_t(i)] != 0 ? output++ : -1;
  return true;
}

// What the composed form takes: its parts, and the passes over the output's gradient that come before them.
double composed_cost(const ConvBackwardShape& shape) {
  constexpr double PASS = 16;  // a number of the spread gradient written and read again
  const ConvShape& c = shape.conv;
  return (shape.dx >= 0 ? least_cost(c, ConvPass::input_grad) : 0) +
         (shape.dweight >= 0 ? least_cost(c, ConvPass::weight_grad) : 0) +
         (shape.pooled ? PASS * double(c.n * c.oc) * double(c.oh * c.ow) : 0);
}

KernelPtr make_backward(const Problem& p) {
  ConvBackwardShape shape = {};
  if (!parse(p, shape)) return nullptr;
  if (pooled_lanes_accepts(shape) && pooled_lanes_cost(shape) < composed_cost(shape)) return make_pooled_lanes(shape);
  return ComposedBackward::make(p);
}

}  // namespace

Family conv_backward_family() {
  return {{"conv2d_backward", make_backward}};
}

}  // namespace coolnn
