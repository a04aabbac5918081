#include "kernels/elementwise.h"

#include "simd_math.h"

namespace coolnn {
namespace COOLNN_ISA {
namespace {

using P = ElementwiseParameters;

INLINE vf number(float x) { return broadcast(x); }

// --- functions of one element, as PyTorch defines them at the borders, with NaN in giving NaN out -------------------

INLINE vf silu(vf x) { return x / (number(1) + exp(-x)); }

// relu6(x + 3) / 6
INLINE vf hard_gate(vf x) { return min(number(6), max(zero(), x + number(3))) * number(1.0f / 6.0f); }

INLINE vf softplus(vf x, P p) {
  const vf t = x * number(p.a);
  const vf soft = max(zero(), t) + log1p_unit(exp(-abs(t)));  // log(1 + exp(t)) without overflow
  return select(t > number(p.b), x, soft * number(1.0f / p.a));
}

// The normal distribution's probability of a value below x.
INLINE vf normal_below(vf x) { return number(0.5f) * (number(1) + erf(x * number(0.70710678118654752f))); }
INLINE vf normal_density(vf x) { return number(0.39894228040143268f) * exp(number(-0.5f) * x * x); }

// tanh(gelu_inner(x)) approximates erf(x / sqrt 2).
INLINE vf gelu_inner(vf x) {
  return number(0.79788456080286536f) * fma(number(0.044715f) * x * x, x, x);
}

template <float (*F)(float)> INLINE vf each_lane(vf x) {
  for (int i = 0; i < VL; i++) x[i] = F(x[i]);
  return x;
}
INLINE float sin_scalar(float x) { return __builtin_sinf(x); }
INLINE float cos_scalar(float x) { return __builtin_cosf(x); }

#define UNARY(name, ...)                            \
  struct unary_##name {                             \
    static INLINE vf of(vf x, [[maybe_unused]] P p) { \
      return __VA_ARGS__;                           \
    }                                               \
  };
UNARY(neg, -x)
UNARY(abs, abs(x))
UNARY(exp, exp(x))
UNARY(log, log(x))
UNARY(sqrt, sqrt(x))
UNARY(rsqrt, number(1) / sqrt(x))
UNARY(sign, select(x > zero(), number(1), select(x < zero(), number(-1), x)))
UNARY(floor, floor(x))
UNARY(square, x * x)
UNARY(reciprocal, number(1) / x)
UNARY(erf, erf(x))
UNARY(sin, each_lane<sin_scalar>(x))
UNARY(cos, each_lane<cos_scalar>(x))
UNARY(relu, max(zero(), x))  // the second operand is what max gives for NaN
UNARY(relu6, min(number(6), max(zero(), x)))
UNARY(leaky_relu, select(x > zero(), x, x * number(p.a)))
UNARY(clip, min(number(p.b), max(number(p.a), x)))
UNARY(sigmoid, sigmoid(x))
UNARY(tanh, tanh(x))
UNARY(silu, silu(x))
UNARY(hardswish, x * hard_gate(x))
UNARY(softplus, softplus(x, p))
UNARY(gelu, x * normal_below(x))
UNARY(gelu_tanh, number(0.5f) * x * (number(1) + tanh(gelu_inner(x))))

// --- their derivatives, times the gradient that arrives -------------------------------------------------------------

INLINE vf silu_slope(vf x) {
  const vf s = sigmoid(x);
  return s * fma(x, number(1) - s, number(1));
}
INLINE vf hardswish_slope(vf x) {
  const vf inside = fma(x, number(1.0f / 3.0f), number(0.5f));
  return select(x <= number(-3), zero(), select(x >= number(3), number(1), inside));
}
INLINE vf softplus_slope(vf x, P p) {
  const vf t = x * number(p.a);
  return select(t > number(p.b), number(1), sigmoid(t));
}
INLINE vf gelu_tanh_slope(vf x) {
  const vf t = tanh(gelu_inner(x));
  const vf inner = number(0.79788456080286536f) * fma(number(3 * 0.044715f) * x, x, number(1));
  return number(0.5f) * (number(1) + t + x * (number(1) - t * t) * inner);
}

#define GRADIENT(name, ...)                                 \
  struct gradient_##name {                                  \
    static INLINE vf of(vf g, vf x, [[maybe_unused]] P p) { \
      return __VA_ARGS__;                                   \
    }                                                       \
  };
GRADIENT(relu_grad, select(x > zero(), g, zero()))
GRADIENT(sigmoid_grad, g * x * (number(1) - x))
GRADIENT(tanh_grad, g * (number(1) - x * x))
GRADIENT(relu6_grad, select((x > zero()) & (x < number(6)), g, zero()))
GRADIENT(leaky_relu_grad, select(x > zero(), g, g * number(p.a)))
GRADIENT(clip_grad, select((x >= number(p.a)) & (x <= number(p.b)), g, zero()))
GRADIENT(silu_grad, g * silu_slope(x))
GRADIENT(hardswish_grad, g * hardswish_slope(x))
GRADIENT(softplus_grad, g * softplus_slope(x, p))
GRADIENT(gelu_grad, g * fma(x, normal_density(x), normal_below(x)))
GRADIENT(gelu_tanh_grad, g * gelu_tanh_slope(x))

// --- functions of two elements --------------------------------------------------------------------------------------

INLINE vf power(vf a, vf b) {
  for (int i = 0; i < VL; i++) a[i] = b[i] == 2.0f ? a[i] * a[i] : __builtin_powf(a[i], b[i]);
  return a;
}

#define BINARY(name, ...)               \
  struct binary_##name {                \
    static INLINE vf of(vf a, vf b) {   \
      return __VA_ARGS__;               \
    }                                   \
  };
BINARY(add, a + b)
BINARY(sub, a - b)
BINARY(mul, a * b)
BINARY(div, a / b)
BINARY(pow, power(a, b))
BINARY(maximum, select((a > b) | (a != a), a, b))  // NaN if either is
BINARY(minimum, select((a < b) | (a != a), a, b))

#define COMPARE(name, operation)                                                \
  struct compare_##name {                                                       \
    static INLINE uint8_t of(float a, float b) { return uint8_t(a operation b); } \
  };
COMPARE(eq, ==)
COMPARE(ne, !=)
COMPARE(lt, <)
COMPARE(le, <=)
COMPARE(gt, >)
COMPARE(ge, >=)

// --- walking --------------------------------------------------------------------------------------------------------

template <class F> void unary(const float* x, float* y, int64_t n, P p) {
  int64_t i = 0;
  for (; i + VL <= n; i += VL) store(y + i, F::of(load(x + i), p));
  if (i < n) store_partial(y + i, F::of(load_partial(x + i, int(n - i)), p), int(n - i));
}

template <class F> void gradient(const float* g, const float* x, float* dx, int64_t n, P p) {
  int64_t i = 0;
  for (; i + VL <= n; i += VL) store(dx + i, F::of(load(g + i), load(x + i), p));
  if (i < n) {
    const int rest = int(n - i);
    store_partial(dx + i, F::of(load_partial(g + i, rest), load_partial(x + i, rest), p), rest);
  }
}

template <class F, Rows MODE>
void binary(const float* a, int64_t a_row, const float* b, int64_t b_row, float* y, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++, a += a_row, b += b_row, y += n) {
    vf x{}, z{};
    if (MODE == Rows::second) x = broadcast(*a);
    if (MODE == Rows::first) z = broadcast(*b);
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
      store(y + i, F::of(MODE == Rows::second ? x : load(a + i), MODE == Rows::first ? z : load(b + i)));
    if (i < n) {
      const int rest = int(n - i);
      if (MODE != Rows::second) x = load_partial(a + i, rest);
      if (MODE != Rows::first) z = load_partial(b + i, rest);
      store_partial(y + i, F::of(x, z), rest);
    }
  }
}

// These two and the casts are loops that compilers turn into good vector code by themselves.
template <class F, Rows MODE>
void compare(const float* a, int64_t a_row, const float* b, int64_t b_row, uint8_t* __restrict y, int64_t rows,
             int64_t n) {
  for (int64_t r = 0; r < rows; r++, a += a_row, b += b_row, y += n) {
    const float a_first = *a, b_first = *b;
    for (int64_t i = 0; i < n; i++)
      y[i] = F::of(MODE == Rows::second ? a_first : a[i], MODE == Rows::first ? b_first : b[i]);
  }
}

template <bool MASK, bool A, bool B>
void where(const uint8_t* mask, int64_t mask_row, const float* a, int64_t a_row, const float* b, int64_t b_row,
           float* __restrict y, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++, mask += mask_row, a += a_row, b += b_row, y += n) {
    const uint8_t mask_first = *mask;
    const float a_first = *a, b_first = *b;
    for (int64_t i = 0; i < n; i++) {
      const float yes = A ? a[i] : a_first, no = B ? b[i] : b_first;
      y[i] = (MASK ? mask[i] : mask_first) ? yes : no;
    }
  }
}

template <class From, class To> INLINE To converted(From x) { return To(x); }
template <> INLINE uint8_t converted<float, uint8_t>(float x) { return uint8_t(int32_t(x)); }
struct truth {  // a boolean in memory: one byte, 0 or 1
  uint8_t value;
};
template <> INLINE truth converted<float, truth>(float x) { return truth{uint8_t(x != 0)}; }
template <> INLINE float converted<truth, float>(truth x) { return float(x.value); }

template <class From, class To> void cast(const void* from, void* to, int64_t n) {
  const From* __restrict x = static_cast<const From*>(from);
  To* __restrict y = static_cast<To*>(to);
  for (int64_t i = 0; i < n; i++) y[i] = converted<From, To>(x[i]);
}

static void finish(float* y, const float* residual, float low, float high, int64_t n) {
  const vf least = number(low), most = number(high);
  for (int64_t i = 0; i < n; i += VL) {
    const int lanes = n - i < VL ? int(n - i) : VL;
    vf x = lanes < VL ? load_partial(y + i, lanes) : load(y + i);
    if (residual != nullptr) x += lanes < VL ? load_partial(residual + i, lanes) : load(residual + i);
    x = min(most, max(least, x));
    if (lanes < VL) store_partial(y + i, x, lanes);
    else store(y + i, x);
  }
}

constexpr auto cast_f32_to_u8 = cast<float, uint8_t>;
constexpr auto cast_f32_to_i32 = cast<float, int32_t>;
constexpr auto cast_f32_to_i64 = cast<float, int64_t>;
constexpr auto cast_f32_to_boolean = cast<float, truth>;
constexpr auto cast_f32_to_f64 = cast<float, double>;
constexpr auto cast_u8_to_f32 = cast<uint8_t, float>;
constexpr auto cast_i32_to_f32 = cast<int32_t, float>;
constexpr auto cast_i64_to_f32 = cast<int64_t, float>;
constexpr auto cast_boolean_to_f32 = cast<truth, float>;
constexpr auto cast_f64_to_f32 = cast<double, float>;

}  // namespace

#define UNARY_ENTRY(name) unary<unary_##name>,
#define GRADIENT_ENTRY(name) gradient<gradient_##name>,
#define BINARY_ENTRY(name) \
  {binary<binary_##name, Rows::both>, binary<binary_##name, Rows::first>, binary<binary_##name, Rows::second>},
#define COMPARE_ENTRY(name) \
  {compare<compare_##name, Rows::both>, compare<compare_##name, Rows::first>, compare<compare_##name, Rows::second>},
#define CAST_ENTRY(name) cast_##name,

extern const ElementwiseTable elementwise_table;
const ElementwiseTable elementwise_table = {
    {COOLNN_UNARY(UNARY_ENTRY)},
    {COOLNN_GRADIENT(GRADIENT_ENTRY)},
    {COOLNN_BINARY(BINARY_ENTRY)},
    {COOLNN_COMPARE(COMPARE_ENTRY)},
    {where<false, false, false>, where<true, false, false>, where<false, true, false>, where<true, true, false>,
     where<false, false, true>, where<true, false, true>, where<false, true, true>, where<true, true, true>},
    {COOLNN_CAST(CAST_ENTRY)},
    finish,
};

}  // namespace COOLNN_ISA
}  // namespace coolnn
