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
// Asks for what lies further on, too.
struct VectorAndAhead {
  int64_t ahead;
  INLINE vf in(const float* p) const {
    prefetch_l2(p + ahead);
    return load(p);
  }
  INLINE void out(float* p, vf x) const { store(p, x); }
};
struct PartVector {
  int n;
  INLINE vf in(const float* p) const { return load_partial(p, n); }
  INLINE void out(float* p, vf x) const { store_partial(p, x, n); }
};
// Where two products are added, `held` says which of them is rounded first: an update is the same bits wherever its
// gradient comes from.

constexpr int GROUP = 4;  // vectors whose gradients are made together

// The gradient of the next VECTORS vectors.
struct GivenGradient {
  const float* from;
  template <int VECTORS, class Memory> INLINE void get(int64_t i, Memory memory, vf* g) const {
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) g[v] = memory.in(from + i + v * VL);
  }
};
struct RowOfProduct {
  const GradientSource& s;
  template <int VECTORS, class Memory> INLINE void get(int64_t i, Memory memory, vf* g) const {
    vf sum[VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) sum[v] = zero();
    const float *a = s.a, *b = s.b + i;
    for (int64_t k = 0; k < s.depth; k++, a += s.a_step, b += s.b_step) {
      const vf left = broadcast(*a);
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; v++) sum[v] = fma(left, memory.in(b + v * VL), sum[v]);
    }
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) g[v] = sum[v];
  }
};

// Calls f(offset, gradient, memory) for all whole vectors, which are read and written by `whole`, and for the rest.
template <class Gradient, class Whole, class F>
INLINE void each_vector_from(const Gradient& gradient, int64_t n, Whole whole, F f) {
  int64_t i = 0;
  vf g[GROUP];
  for (; i + GROUP * VL <= n; i += GROUP * VL) {
    gradient.template get<GROUP>(i, WholeVector{}, g);
#pragma GCC unroll 4
    for (int v = 0; v < GROUP; v++) f(i + v * VL, g[v], whole);
  }
  for (; i + VL <= n; i += VL) {
    gradient.template get<1>(i, WholeVector{}, g);
    f(i, g[0], whole);
  }
  if (i < n) {
    const PartVector rest{int(n - i)};
    gradient.template get<1>(i, rest, g);
    f(i, g[0], rest);
  }
}
template <class F> INLINE void each_vector(const GradientSource& gradient, int64_t n, F f) {
  if (gradient.given != nullptr) each_vector_from(GivenGradient{gradient.given}, n, WholeVector{}, f);
  else each_vector_from(RowOfProduct{gradient}, n, VectorAndAhead{gradient.ahead}, f);
}

void sgd(const float* param, const GradientSource& grad, const float* buffer, float* new_param, float* new_buffer, int64_t n,
         SgdSettings s) {
  const vf rate = broadcast(s.rate), scale = broadcast(s.grad_scale), decay = broadcast(s.weight_decay);
  const vf momentum = broadcast(s.momentum), fresh = broadcast(s.one_minus_dampening);
  const bool has_buffer = buffer != nullptr, first = s.first, nesterov = s.nesterov;
  each_vector(grad, n, [=](int64_t i, vf gradient, auto memory) __attribute__((always_inline)) {
    const vf p = memory.in(param + i);
    vf step = fma(decay, p, held(gradient * scale));
    if (has_buffer) {
      const vf b = first ? step : fma(momentum, memory.in(buffer + i), held(fresh * step));
      memory.out(new_buffer + i, b);
      step = nesterov ? fma(momentum, b, step) : b;
    }
    memory.out(new_param + i, p - rate * step);
  });
}

void adam(const float* param, const GradientSource& grad, const float* m, const float* v, float* new_param, float* new_m,
          float* new_v, int64_t n, AdamSettings s) {
  const vf scale = broadcast(s.grad_scale), decay = broadcast(s.weight_decay), shrink = broadcast(s.shrink);
  const vf beta1 = broadcast(s.beta1), fresh1 = broadcast(s.one_minus_beta1);
  const vf beta2 = broadcast(s.beta2), fresh2 = broadcast(s.one_minus_beta2);
  const vf eps = broadcast(s.eps), step = broadcast(s.step), root = broadcast(s.inverse_root_correction2);
  each_vector(grad, n, [=](int64_t i, vf gradient, auto memory) __attribute__((always_inline)) {
    const vf p = memory.in(param + i);
    const vf g = fma(decay, p, held(gradient * scale));
    const vf m_next = fma(beta1, memory.in(m + i), held(fresh1 * g));
    const vf v_next = fma(beta2, memory.in(v + i), held(fresh2 * g * g));
    memory.out(new_m + i, m_next);
    memory.out(new_v + i, v_next);
    memory.out(new_param + i, p * shrink - step * m_next / fma(sqrt(v_next), root, eps));
  });
}

void rmsprop(const float* param, const GradientSource& grad, const float* square, const float* buffer, float* new_param,
             float* new_square, float* new_buffer, int64_t n, RmspropSettings s) {
  const vf rate = broadcast(s.rate), scale = broadcast(s.grad_scale), decay = broadcast(s.weight_decay);
  const vf alpha = broadcast(s.alpha), fresh = broadcast(s.one_minus_alpha), eps = broadcast(s.eps);
  const vf momentum = broadcast(s.momentum);
  const bool has_buffer = buffer != nullptr;
  each_vector(grad, n, [=](int64_t i, vf gradient, auto memory) __attribute__((always_inline)) {
    const vf p = memory.in(param + i);
    const vf g = fma(decay, p, held(gradient * scale));
    const vf next = fma(alpha, memory.in(square + i), held(fresh * g * g));
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
  each_vector_from(GivenGradient{param}, n, WholeVector{}, [=](int64_t i, vf p, auto memory) __attribute__((always_inline)) {
    const vf a = memory.in(average + i);
    memory.out(new_average + i, fma(fresh, p - a, a));
  });
}

}  // namespace

extern const OptimizerTable optimizer_table;
const OptimizerTable optimizer_table = {sgd, adam, rmsprop, ema};

}  // namespace COOLNN_ISA
}  // namespace coolnn
