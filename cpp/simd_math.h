// Functions of one vector beyond exp and log: those that activations are made of. Coefficients come from
// tools/minimax.py; errors are in units in the last place (ulp) and checked by tests/test_kernels_elementwise.py.
#pragma once
#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

constexpr int32_t SIGN_BIT = int32_t(0x80000000u);

// The magnitude of `size` (not negative) with the sign of `sign`.
static INLINE vf with_sign(vf size, vf sign) { return as_float(as_int(size) | (as_int(sign) & SIGN_BIT)); }

// The greatest whole number that is not above x.
static INLINE vf floor(vf x) {
  const vi small = abs(x) < broadcast(8388608.0f);  // from 2^23 on all floats are whole
  const vf whole = __builtin_convertvector(__builtin_convertvector(select(small, x, zero()), vi), vf);
  const vf below = whole - select(whole > x, broadcast(1.0f), zero());
  return select(small, with_sign(abs(below), x), x);  // the sign matters at -0 alone
}

// log(1 + x) for 0 <= x <= 1, accurate for the smallest x too: the log of the rounded sum, and what rounding took.
static INLINE vf log1p_unit(vf x) {
  const vf one = broadcast(1.0f);
  const vf sum = one + x;
  return log(sum) + (x - (sum - one)) / sum;
}

static INLINE vf sigmoid(vf x) { return broadcast(1.0f) / (broadcast(1.0f) + exp(-x)); }

// Error below 2 ulp.
static INLINE vf tanh(vf x) {
  const vf size = abs(x);
  const vf s = x * x;
  vf p = broadcast(-5.660799134e-3f);  // (tanh(x) / x - 1) / x^2 for x^2 <= 0.4
  p = fma(p, s, broadcast(2.06020068e-2f));
  p = fma(p, s, broadcast(-5.372922556e-2f));
  p = fma(p, s, broadcast(1.333132884e-1f));
  p = fma(p, s, broadcast(-3.333327831e-1f));
  const vf small = fma(p * s, x, x);
  const vf bounded = select(size > broadcast(10.0f), broadcast(10.0f), size);  // tanh(10) rounds to 1
  const vf large = broadcast(1.0f) - broadcast(2.0f) / (exp_in_range(bounded + bounded) + broadcast(1.0f));
  return select(size < broadcast(0.63f), small, with_sign(large, x));
}

// The Gauss error function, error below 2 ulp.
static INLINE vf erf(vf x) {
  const vf size = abs(x);
  const vf s = x * x;
  vf p = broadcast(7.853837825e-5f);  // erf(x) / x - 1 for |x| <= 1
  p = fma(p, s, broadcast(-8.010185634e-4f));
  p = fma(p, s, broadcast(5.188326605e-3f));
  p = fma(p, s, broadcast(-2.685381118e-2f));
  p = fma(p, s, broadcast(1.128358512e-1f));
  p = fma(p, s, broadcast(-3.761262582e-1f));
  p = fma(p, s, broadcast(1.28379166e-1f));
  const vf small = fma(p, x, x);
  const vf t = select(size > broadcast(4.0f), broadcast(4.0f), size);  // erf(4) rounds to 1
  vf q = broadcast(1.891369797e-4f);  // log(1 - erf(t)) for 1 <= t <= 4
  q = fma(q, t, broadcast(-2.975795946e-3f));
  q = fma(q, t, broadcast(2.195504581e-2f));
  q = fma(q, t, broadcast(-1.033605391e-1f));
  q = fma(q, t, broadcast(-6.378416531e-1f));
  q = fma(q, t, broadcast(-1.12727842f));
  q = fma(q, t, broadcast(-2.932788196e-4f));
  const vf large = broadcast(1.0f) - exp_in_range(q);
  return select(size < broadcast(1.0f), small, with_sign(large, x));
}

}  // namespace COOLNN_ISA
}  // namespace coolnn
