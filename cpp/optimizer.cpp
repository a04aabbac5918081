#include "optimizer.h"

#include <algorithm>
#include <cmath>

#include "isa.h"
#include "parallel.h"

namespace coolnn {
namespace {

constexpr int64_t GRAIN = 1 << 14;  // elements a chunk; an update reads and writes several arrays

// The inputs before `count` are f32 and as long as the first (an absent one may be missing), the next is `hyper` of at
// least `values` numbers.
bool fits(const Problem& p, size_t count, int64_t values, bool last_optional = false) {
  if (p.inputs.size() != count + 1) return false;
  for (size_t i = 0; i < count; i++) {
    if (!p.inputs[i].present() && last_optional && i == count - 1) continue;
    if (!p.inputs[i].present() || p.inputs[i].dtype != DType::f32) return false;
    if (p.inputs[i].elements() != p.inputs[0].elements()) return false;
  }
  const Spec& hyper = p.inputs[count];
  return hyper.present() && hyper.dtype == DType::f32 && hyper.elements() >= values;
}

// Number `by` on of one of the arrays; null where it is absent.
const float* in(const void* const* inputs, int i, int64_t by) {
  return inputs[i] == nullptr ? nullptr : static_cast<const float*>(inputs[i]) + by;
}
float* out(void* const* outputs, int i, int64_t by) { return static_cast<float*>(outputs[i]) + by; }

// An update made from a function object that takes what Update::apply does.
template <class F> class FunctionUpdate final : public Update {
 public:
  explicit FunctionUpdate(F function) : function_(function) {}
  void apply(const void* const* inputs, void* const* outputs, const GradientSource& grad, int64_t begin,
             int64_t end) const override {
    function_(inputs, outputs, grad, begin, end);
  }

 private:
  F function_;
};
using UpdatePtr = std::unique_ptr<Update>;
template <class F> UpdatePtr make_function_update(F function) {
  return std::make_unique<FunctionUpdate<F>>(function);
}

// inputs: param, grad, buffer|None, hyper [rate, grad_scale]; outputs: param[, buffer]
UpdatePtr make_sgd(const Problem& p) {
  if (!fits(p, 3, 2, true)) return nullptr;
  const float momentum = float(p.number("momentum")), fresh = float(1 - p.number("dampening"));
  const float decay = float(p.number("weight_decay"));
  const bool nesterov = p.integer("nesterov") != 0, first = p.integer("first") != 0;
  const auto sgd = isa().optimizer.sgd;
  return make_function_update(
      [=](const void* const* inputs, void* const* outputs, const GradientSource& grad, int64_t b, int64_t e) {
        const float* hyper = in(inputs, 3, 0);
        const float* buffer = in(inputs, 2, b);
        const SgdSettings settings{hyper[0], hyper[1], momentum, fresh, decay, nesterov, first};
        sgd(in(inputs, 0, b), grad, buffer, out(outputs, 0, b), buffer == nullptr ? nullptr : out(outputs, 1, b), e - b,
            settings);
      });
}

// inputs: param, grad, m, v, hyper [rate, grad_scale, 1 - beta1^t, 1 - beta2^t]; outputs: param, m, v
UpdatePtr make_adam(const Problem& p) {
  if (!fits(p, 4, 4)) return nullptr;
  const double beta1 = p.number("beta1"), beta2 = p.number("beta2"), eps = p.number("eps");
  const double decay = p.number("weight_decay");
  const bool decoupled = p.integer("decoupled") != 0;
  const auto adam = isa().optimizer.adam;
  return make_function_update(
      [=](const void* const* inputs, void* const* outputs, const GradientSource& grad, int64_t b, int64_t e) {
        const float* hyper = in(inputs, 4, 0);
        AdamSettings s;
        s.grad_scale = hyper[1];
        s.beta1 = float(beta1), s.one_minus_beta1 = float(1 - beta1);
        s.beta2 = float(beta2), s.one_minus_beta2 = float(1 - beta2);
        s.eps = float(eps);
        s.step = float(double(hyper[0]) / hyper[2]);
        s.inverse_root_correction2 = float(1 / std::sqrt(double(hyper[3])));
        s.weight_decay = decoupled ? 0.0f : float(decay);
        s.shrink = decoupled ? float(1 - double(hyper[0]) * decay) : 1.0f;
        adam(in(inputs, 0, b), grad, in(inputs, 2, b), in(inputs, 3, b), out(outputs, 0, b), out(outputs, 1, b),
             out(outputs, 2, b), e - b, s);
      });
}

// inputs: param, grad, square, buffer|None, hyper [rate, grad_scale]; outputs: param, square[, buffer]
UpdatePtr make_rmsprop(const Problem& p) {
  if (!fits(p, 4, 2, true)) return nullptr;
  const double alpha = p.number("alpha");
  const float eps = float(p.number("eps")), decay = float(p.number("weight_decay"));
  const float momentum = float(p.number("momentum"));
  const auto rmsprop = isa().optimizer.rmsprop;
  return make_function_update(
      [=](const void* const* inputs, void* const* outputs, const GradientSource& grad, int64_t b, int64_t e) {
        const float* hyper = in(inputs, 4, 0);
        const float* buffer = in(inputs, 3, b);
        const RmspropSettings settings{hyper[0], hyper[1], float(alpha), float(1 - alpha), eps, decay, momentum};
        rmsprop(in(inputs, 0, b), grad, in(inputs, 2, b), buffer, out(outputs, 0, b), out(outputs, 1, b),
                buffer == nullptr ? nullptr : out(outputs, 2, b), e - b, settings);
      });
}

KernelPtr make_step(const Problem& p) {
  const std::shared_ptr<Update> update = make_update(p);
  if (update == nullptr) return nullptr;
  const int64_t n = p.inputs[UPDATE_PARAM].elements();
  return make_function_kernel("fused", [=](const Arguments& a) {
    parallel_range(n, GRAIN, [&](int64_t b, int64_t e) {
      update->apply(a.inputs, a.outputs, {a.in(UPDATE_GRAD) + b}, b, e);
    });
  });
}

// inputs: average, param, hyper [decay]; outputs: average
KernelPtr make_ema(const Problem& p) {
  if (!fits(p, 2, 1)) return nullptr;
  const int64_t n = p.inputs[0].elements();
  const auto ema = isa().optimizer.ema;
  return make_function_kernel("fused", [=](const Arguments& a) {
    const float decay = a.in(2)[0];
    parallel_range(n, GRAIN, [&](int64_t b, int64_t e) {
      ema(a.in(0) + b, a.in(1) + b, a.out(0) + b, e - b, decay);
    });
  });
}

}  // namespace

std::unique_ptr<Update> make_update(const Problem& problem) {
  if (problem.name == "sgd_step") return make_sgd(problem);
  if (problem.name == "adam_step") return make_adam(problem);
  if (problem.name == "rmsprop_step") return make_rmsprop(problem);
  return nullptr;
}

Family optimizer_family() {
  return {
      {"sgd_step", make_step},
      {"adam_step", make_step},
      {"rmsprop_step", make_step},
      {"ema_step", make_ema},
  };
}

}  // namespace coolnn
