#include "kernels/optimizer.h"

#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {
namespace {

// Memory as a whole vector or as the first n lanes of one, so that each update is written once.
struct WholeVector {
  INLINE vf in(const float* p) const { return load(p); }
  INLINE void out(float* p, vf x) const { store(p, x); }
};
struct PartVector {
  int n;
  INLINE vf in(const float* p) const { return load_partial(p, n); }
  INLINE void out(float* p, vf x) const { store_partial(p, x, n); }
};
// Calls f(offset, memory) for all whole vectors and for the rest.
template <class F> INLINE void each_vector(int64_t n, F f) {
  int64_t i = 0;
  for (; i + VL <= n; i += VL) f(i, WholeVector{});
  if (i < n) f(i, PartVector{int(n - i)});
}

void sgd(const float* param, const float* grad, const float* buffer, float* new_param, float* new_buffer, int64_t n,
         SgdSettings s) {
  const vf rate = broadcast(s.rate), scale = broadcast(s.grad_scale), decay = broadcast(s.weight_decay);
  const vf momentum = broadcast(s.momentum), fresh = broadcast(s.one_minus_dampening);
  const bool has_buffer = buffer != nullptr, first = s.first, nesterov = s.nesterov;
  each_vector(n, [=](int64_t i, auto memory) __attribute__((always_inline)) {
    const vf p = memory.in(param + i);
    vf step = fma(decay, p, memory.in(grad + i) * scale);
    if (has_buffer) {
      const vf b = first ? step : fma(momentum, memory.in(buffer + i), fresh * step);
      memory.out(new_buffer + i, b);
      step = nesterov ? fma(momentum, b, step) : b;
    }
    memory.out(new_param + i, p - rate * step);
  });
}

void adam(const float* param, const float* grad, const float* m, const float* v, float* new_param, float* new_m,
          float* new_v, int64_t n, AdamSettings s) {
  const vf scale = broadcast(s.grad_scale), decay = broadcast(s.weight_decay), shrink = broadcast(s.shrink);
  const vf beta1 = broadcast(s.beta1), fresh1 = broadcast(s.one_minus_beta1);
  const vf beta2 = broadcast(s.beta2), fresh2 = broadcast(s.one_minus_beta2);
  const vf eps = broadcast(s.eps), step = broadcast(s.step), root = broadcast(s.inverse_root_correction2);
  each_vector(n, [=](int64_t i, auto memory) __attribute__((always_inline)) {
    const vf p = memory.in(param + i);
    const vf g = fma(decay, p, memory.in(grad + i) * scale);
    const vf m_next = fma(beta1, memory.in(m + i), fresh1 * g);
    const vf v_next = fma(beta2, memory.in(v + i), fresh2 * g * g);
    memory.out(new_m + i, m_next);
    memory.out(new_v + i, v_next);
    memory.out(new_param + i, p * shrink - step * m_next / fma(sqrt(v_next), root, eps));
  });
}

void rmsprop(const float* param, const float* grad, const float* square, const float* buffer, float* new_param,
             float* new_square, float* new_buffer, int64_t n, RmspropSettings s) {
  const vf rate = broadcast(s.rate), scale = broadcast(s.grad_scale), decay = broadcast(s.weight_decay);
  const vf alpha = broadcast(s.alpha), fresh = broadcast(s.one_minus_alpha), eps = broadcast(s.eps);
  const vf momentum = broadcast(s.momentum);
  const bool has_buffer = buffer != nullptr;
  each_vector(n, [=](int64_t i, auto memory) __attribute__((always_inline)) {
    const vf p = memory.in(param + i);
    const vf g = fma(decay, p, memory.in(grad + i) * scale);
    const vf next = fma(alpha, memory.in(square + i), fresh * g * g);
    memory.out(new_square + i, next);
    vf step = g / (sqrt(next) + eps);
    if (has_buffer) {
      step = fma(momentum, memory.in(buffer + i), step);
      memory.out(new_buffer + i, step);
    }
    memory.out(new_param + i, p - rate * step);
  });
}

void ema(const float* average, const float* param, float* new_average, int64_t n, float decay) {
  const vf fresh = broadcast(1.0f - decay);
  each_vector(n, [=](int64_t i, auto memory) __attribute__((always_inline)) {
    const vf a = memory.in(average + i);
    memory.out(new_average + i, fma(fresh, memory.in(param + i) - a, a));
  });
}

}  // namespace

extern const OptimizerTable optimizer_table;
const OptimizerTable optimizer_table = {sgd, adam, rmsprop, ema};

}  // namespace COOLNN_ISA
}  // namespace coolnn
