// conv2d_backward: all gradients of a convolution (and of a relu and a max-pooling behind it) in one kernel. The form
// here, for any shape, composes the kernels of the single gradients; the mask of the relu is applied, and the gradient
// of the bias summed, in one pass before them.
#include <algorithm>
#include <optional>

#include "kernel.h"
#include "parallel.h"
#include "reduce.h"

namespace coolnn {
namespace {

constexpr int64_t GRAIN = 1 << 15;  // numbers of a chunk

size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

class ComposedBackward final : public Kernel {
 public:
  enum Input { GRAD, Y, INDICES, X, WEIGHT, INPUTS };

  // Null where the engine lacks one of the parts.
  static KernelPtr make(const Problem& p) {
    auto kernel = std::make_unique<ComposedBackward>();
    return kernel->prepare(p) ? std::move(kernel) : nullptr;
  }

  void run(const Arguments& a) const override {
    char* free = static_cast<char*>(a.workspace);
    const float* grad = a.in(GRAD);
    float* const bias = bias_output_ < 0 ? nullptr : a.out(bias_output_);
    if (mask_ != nullptr) {
      float* const masked = reinterpret_cast<float*>(free);
      free += aligned(size_t(elements_) * sizeof(float));
      char* const totals = free;
      // With pooling in between the bias gets its sum later.
      apply_mask(grad, a.in(Y), masked, pooling_ ? nullptr : bias, reinterpret_cast<double*>(totals));
      grad = masked;
    }
    if (pooling_) {
      float* const spread = reinterpret_cast<float*>(free);
      free += spread_bytes_;
      run_part(*pooling_, {grad, a.in<void>(INDICES)}, spread, free);
      grad = spread;
    }
    if (bias != nullptr && (pooling_ || mask_ == nullptr)) run_part(*sum_, {grad}, bias, free);
    if (input_grad_) run_part(*input_grad_, {grad, a.in<void>(WEIGHT)}, a.outputs[0], free);
    if (weight_grad_) run_part(*weight_grad_, {a.in<void>(X), grad}, a.outputs[input_grad_ ? 1 : 0], free);
  }

 private:
  static void run_part(const Kernel& part, std::initializer_list<const void*> inputs, void* output, void* workspace) {
    part.run(Arguments{inputs.begin(), &output, workspace});
  }

  bool prepare(const Problem& p) {
    if (p.inputs.size() != INPUTS) throw std::invalid_argument("conv2d_backward takes five inputs, some of them absent");
    const std::vector<int64_t> wants = p.integers("wants"), size = p.integers("output_size");
    if (wants.size() != 3 || size.size() != 2 || p.outputs.size() != size_t(wants[0] + wants[1] + wants[2]))
      throw std::invalid_argument("conv2d_backward: wants, output_size and outputs do not fit together");
    const Spec& grad = p.inputs[GRAD];
    if (grad.rank != 4 || grad.dtype != DType::f32) return false;
    const Spec sent(DType::f32, {grad.shape[0], grad.shape[1], size[0], size[1]});
    std::vector<KernelPtr*> made;
    size_t output = 0;
    const auto part = [&](KernelPtr& kernel, const char* name, std::vector<Spec> inputs, const Spec& result) {
      kernel = make_kernel(Problem{name, part_attributes(p, name), std::move(inputs), {result}});
      made.push_back(&kernel);
    };
    if (p.inputs[INDICES].present()) part(pooling_, "max_pool2d_grad", {grad, p.inputs[INDICES]}, sent);
    if (wants[0]) part(input_grad_, "conv2d_input_grad", {sent, p.inputs[WEIGHT]}, p.outputs[output++]);
    if (wants[1]) part(weight_grad_, "conv2d_weight_grad", {p.inputs[X], sent}, p.outputs[output++]);
    if (wants[2]) {
      bias_output_ = int(output);
      part(sum_, "sum", {sent}, p.outputs[output]);
    }
    if (std::any_of(made.begin(), made.end(), [](KernelPtr* kernel) { return *kernel == nullptr; })) return false;

    size_t most = 0;
    for (KernelPtr* kernel : made) most = std::max(most, (*kernel)->workspace_bytes);
    elements_ = grad.elements();
    spread_bytes_ = aligned(sent.bytes());
    if (p.inputs[Y].present()) {
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

}  // namespace

Family conv_backward_family() {
  return {{"conv2d_backward", ComposedBackward::make}};
}

}  // namespace coolnn
