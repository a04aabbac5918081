#include <algorithm>
#include <cmath>

#include "isa.h"
#include "kernel.h"
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

const float* shifted(const float* p, int64_t by) { return p == nullptr ? nullptr : p + by; }

// inputs: param, grad, buffer|None, hyper [rate, grad_scale]; outputs: param[, buffer]
KernelPtr make_sgd(const Problem& p) {
  if (!fits(p, 3, 2, true)) return nullptr;
  const float momentum = float(p.number("momentum")), fresh = float(1 - p.number("dampening"));
  const float decay = float(p.number("weight_decay"));
  const bool nesterov = p.integer("nesterov") != 0, first = p.integer("first") != 0;
  const int64_t n = p.inputs[0].elements();
  const auto sgd = isa().optimizer.sgd;
  return make_function_kernel("fused", [=](const Arguments& a) {
    const float* hyper = a.in(3);
    const SgdSettings settings{hyper[0], hyper[1], momentum, fresh, decay, nesterov, first};
    parallel_range(n, GRAIN, [&](int64_t b, int64_t e) {
      float* new_buffer = a.in(2) == nullptr ? nullptr : a.out(1) + b;
      sgd(a.in(0) + b, a.in(1) + b, shifted(a.in(2), b), a.out(0) + b, new_buffer, e - b, settings);
    });
  });
}

// inputs: param, grad, m, v, hyper [rate, grad_scale, 1 - beta1^t, 1 - beta2^t]; outputs: param, m, v
KernelPtr make_adam(const Problem& p) {
  if (!fits(p, 4, 4)) return nullptr;
  const double beta1 = p.number("beta1"), beta2 = p.number("beta2"), eps = p.number("eps");
  const double decay = p.number("weight_decay");
  const bool decoupled = p.integer("decoupled") != 0;
  const int64_t n = p.inputs[0].elements();
  const auto adam = isa().optimizer.adam;
  return make_function_kernel("fused", [=](const Arguments& a) {
    const float* hyper = a.in(4);
    AdamSettings s;
    s.grad_scale = hyper[1];
    s.beta1 = float(beta1), s.one_minus_beta1 = float(1 - beta1);
    s.beta2 = float(beta2), s.one_minus_beta2 = float(1 - beta2);
    s.eps = float(eps);
    s.step = float(double(hyper[0]) / hyper[2]);
    s.inverse_root_correction2 = float(1 / std::sqrt(double(hyper[3])));
    s.weight_decay = decoupled ? 0.0f : float(decay);
    s.shrink = decoupled ? float(1 - double(hyper[0]) * decay) : 1.0f;
    parallel_range(n, GRAIN, [&](int64_t b, int64_t e) {
      adam(a.in(0) + b, a.in(1) + b, a.in(2) + b, a.in(3) + b, a.out(0) + b, a.out(1) + b, a.out(2) + b, e - b, s);
    });
  });
}

// inputs: param, grad, square, buffer|None, hyper [rate, grad_scale]; outputs: param, square[, buffer]
KernelPtr make_rmsprop(const Problem& p) {
  if (!fits(p, 4, 2, true)) return nullptr;
  const double alpha = p.number("alpha");
  const float eps = float(p.number("eps")), decay = float(p.number("weight_decay"));
  const float momentum = float(p.number("momentum"));
  const int64_t n = p.inputs[0].elements();
  const auto rmsprop = isa().optimizer.rmsprop;
  return make_function_kernel("fused", [=](const Arguments& a) {
    const float* hyper = a.in(4);
    const RmspropSettings settings{hyper[0], hyper[1], float(alpha), float(1 - alpha), eps, decay, momentum};
    parallel_range(n, GRAIN, [&](int64_t b, int64_t e) {
      float* new_buffer = a.in(3) == nullptr ? nullptr : a.out(2) + b;
      rmsprop(a.in(0) + b, a.in(1) + b, a.in(2) + b, shifted(a.in(3), b), a.out(0) + b, a.out(1) + b, new_buffer, e - b,
              settings);
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

Family optimizer_family() {
  return {
      {"sgd_step", make_sgd},
      {"adam_step", make_adam},
      {"rmsprop_step", make_rmsprop},
      {"ema_step", make_ema},
  };
}

}  // namespace coolnn
