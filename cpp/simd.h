// One vector type on compiler vector extensions. Included only by kernels/*.cpp, which are compiled once per
// instruction set inside their own namespace; nothing here may instantiate a C++ library template.
#pragma once
#include <stddef.h>
#include <stdint.h>
#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace coolnn {
namespace COOLNN_ISA {

#if defined(__AVX512F__)
constexpr int VL = 16;         // floats in a vector
constexpr int REGISTERS = 32;  // vector registers that a tile may count on
#elif defined(__AVX2__)
constexpr int VL = 8;
constexpr int REGISTERS = 16;
#elif defined(__aarch64__)
constexpr int VL = 4;
constexpr int REGISTERS = 32;
#else
constexpr int VL = 4;
constexpr int REGISTERS = 16;
#endif

#define INLINE __attribute__((always_inline)) inline

typedef float vf __attribute__((vector_size(VL * 4)));
typedef int32_t vi __attribute__((vector_size(VL * 4)));
typedef float vf_unaligned __attribute__((vector_size(VL * 4), aligned(4), may_alias));
typedef int32_t vi_unaligned __attribute__((vector_size(VL * 4), aligned(4), may_alias));

static INLINE vf load(const float* p) { return *(const vf_unaligned*)p; }
static INLINE void store(float* p, vf x) { *(vf_unaligned*)p = x; }
static INLINE vi load_int(const int32_t* p) { return *(const vi_unaligned*)p; }
static INLINE void store_int(int32_t* p, vi x) { *(vi_unaligned*)p = x; }
static INLINE vf broadcast(float x) { return x - (vf){}; }  // folds to one broadcast instruction
static INLINE vi broadcast_int(int32_t x) { return x - (vi){}; }
static INLINE vf zero() { return (vf){}; }
static INLINE vf fma(vf a, vf b, vf c) { return a * b + c; }  // contracted to one instruction where there is one
static INLINE vf max(vf a, vf b) { return a > b ? a : b; }    // b if either is NaN
static INLINE vf min(vf a, vf b) { return a < b ? a : b; }
static INLINE vf select(vi mask, vf yes, vf no) { return mask ? yes : no; }
static INLINE vi as_int(vf x) { return (vi)x; }
static INLINE vf as_float(vi x) { return (vf)x; }
static INLINE vf abs(vf x) { return (vf)((vi)x & 0x7fffffff); }
static INLINE void prefetch(const void* p) { __builtin_prefetch(p, 0, 3); }
static INLINE void prefetch_l2(const void* p) { __builtin_prefetch(p, 0, 2); }

#if defined(__AVX2__) && !defined(__AVX512F__)
// All bits of the first n lanes.
static INLINE vi first_lanes(int n) {
  static const int32_t ones_then_zeros[2 * VL] = {-1, -1, -1, -1, -1, -1, -1, -1};
  return load_int(ones_then_zeros + VL - n);
}
#else
typedef float pair_unaligned __attribute__((vector_size(8), aligned(4), may_alias));
#endif

// The first n (0 <= n < VL) lanes; the other lanes read as zero and are not touched in memory.
static INLINE vf load_partial(const float* p, int n) {
#if defined(__AVX512F__)
  return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
#elif defined(__AVX2__)
  return (vf)_mm256_maskload_ps(p, (__m256i)first_lanes(n));
#else
  vf x = {};
  if (n & 2) {
    const pair_unaligned two = *(const pair_unaligned*)p;
    x = (vf){two[0], two[1], n & 1 ? p[2] : 0.0f, 0.0f};
  } else if (n & 1) {
    x[0] = p[0];
  }
  return x;
#endif
}
static INLINE void store_partial(float* p, vf x, int n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), (__m512)x);
#elif defined(__AVX2__)
  _mm256_maskstore_ps(p, (__m256i)first_lanes(n), (__m256)x);
#else
  if (n & 2) *(pair_unaligned*)p = (pair_unaligned){x[0], x[1]};
  if (n & 1) p[n - 1] = n & 2 ? x[2] : x[0];
#endif
}
// A choice between two vectors for each lane, by bit number BIT of whole numbers; made once and used for many.
#if defined(__AVX512F__)
typedef __mmask16 Choice;
template <int BIT> static INLINE Choice choice_by(vi numbers) {
  return _mm512_test_epi32_mask((__m512i)numbers, _mm512_set1_epi32(1 << BIT));
}
static INLINE vf choose(Choice choice, vf set, vf clear) {
  return (vf)_mm512_mask_blend_ps(choice, (__m512)clear, (__m512)set);
}
#elif defined(__AVX2__)
typedef vf Choice;  // by the sign
template <int BIT> static INLINE Choice choice_by(vi numbers) { return as_float(numbers << (31 - BIT)); }
static INLINE vf choose(Choice choice, vf set, vf clear) {
  return (vf)_mm256_blendv_ps((__m256)clear, (__m256)set, (__m256)choice);
}
#else
typedef vi Choice;
template <int BIT> static INLINE Choice choice_by(vi numbers) { return (numbers << (31 - BIT)) >> 31; }
static INLINE vf choose(Choice choice, vf set, vf clear) {
  return as_float(((vi)set & choice) | ((vi)clear & ~choice));
}
#endif

// The same, held in a register: where a number is used several times the compiler may otherwise load it each time.
static INLINE vf held(vf x) {
#if defined(__AVX512F__)
  asm("" : "+v"(x));
#elif defined(__x86_64__)
  asm("" : "+x"(x));
#elif defined(__aarch64__)
  asm("" : "+w"(x));
#endif
  return x;
}

// table[numbers], for each lane, from a table of VL numbers; only the last bits of `numbers` that it takes count.
static INLINE vf look_up(const float* table, vi numbers) {
#if defined(__AVX512F__)
  return (vf)_mm512_permutexvar_ps((__m512i)numbers, (__m512)load(table));
#elif defined(__AVX2__)
  return (vf)_mm256_permutevar8x32_ps((__m256)load(table), (__m256i)numbers);
#else
  const Choice low = choice_by<0>(numbers);
  return choose(choice_by<1>(numbers), choose(low, broadcast(table[3]), broadcast(table[2])),
                choose(low, broadcast(table[1]), broadcast(table[0])));
#endif
}

// A store that does not fetch the line first and leaves the cache alone; p is aligned to a whole vector.
static INLINE void stream(float* p, vf x) {
#if defined(__AVX512F__)
  _mm512_stream_ps(p, (__m512)x);
#elif defined(__AVX2__)
  _mm256_stream_ps(p, (__m256)x);
#else
  store(p, x);
#endif
}
static INLINE void stream_fence() {
#if defined(__AVX2__) || defined(__AVX512F__)
  _mm_sfence();
#endif
}

// Horizontal results, in a fixed order (pairwise), so that they do not depend on the compiler's mood.
static INLINE float sum_lanes(vf x) {
  float lane[VL];
  store(lane, x);
  for (int half = VL / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) lane[i] += lane[i + half];
  return lane[0];
}
static INLINE float max_lanes(vf x) {
  float m = x[0];
  for (int i = 1; i < VL; i++) m = x[i] > m ? x[i] : m;
  return m;
}

static INLINE vf sqrt(vf x) {
#if defined(__AVX512F__)
  return (vf)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX2__)
  return (vf)_mm256_sqrt_ps((__m256)x);
#else
  for (int i = 0; i < VL; i++) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}

// Nearest integer, ties to even, for |x| < 2^22.
static INLINE vf round_small(vf x) {
  const vf magic = broadcast(12582912.0f);  // 1.5 * 2^23
  return (x + magic) - magic;
}

// Coefficients here come from tools/minimax.py.

// exp(x) for x between -104 and 88.72 or NaN: what exp below, and functions that know their range, are made of.
static INLINE vf exp_in_range(vf x) {
  const vf n = round_small(x * broadcast(1.44269504088896341f));
  vf r = fma(n, broadcast(-0.693359375f), x);  // Cody and Waite: ln 2 in two pieces
  r = fma(n, broadcast(2.12194440e-4f), r);
  vf p = broadcast(1.991870839e-4f);  // (exp(r) - 1 - r) / r^2 on |r| <= ln(2)/2, relative error 5e-11
  p = fma(p, r, broadcast(1.394639723e-3f));
  p = fma(p, r, broadcast(8.333263816e-3f));
  p = fma(p, r, broadcast(4.166626544e-2f));
  p = fma(p, r, broadcast(1.666666686e-1f));
  p = fma(p, r, broadcast(5.000000079e-1f));
  p = fma(p, r * r, r) + broadcast(1.0f);
  // 2^n in two factors: n = 128 does not overflow on its own, and small results become subnormal with one rounding.
  const vi whole = __builtin_convertvector(n, vi);
  const vi half = whole >> 1;
  return p * as_float((half + 127) << 23) * as_float((whole - half + 127) << 23);
}

// exp(x), error below 2 units in the last place everywhere; 0 below -104, infinity above 88.72, NaN kept.
static INLINE vf exp(vf x) {
  const vi under = x < broadcast(-104.0f);
  const vi over = x > broadcast(88.72284f);  // no float lies between this and the logarithm of the largest one
  // Lanes outside the range compute exp(0) instead: operations on subnormals are slow on many processors.
  const vf y = exp_in_range(select(under | over, zero(), x));
  return select(under, zero(), select(over, broadcast(__builtin_inff()), y));
}

// log(x), error below 2 units in the last place; -infinity at 0, NaN below 0.
static INLINE vf log(vf x) {
  const vi subnormal = x < broadcast(1.17549435e-38f);
  const vf scaled = select(subnormal, x * broadcast(8388608.0f), x);
  const vi bits = as_int(scaled);
  vi exponent = ((bits >> 23) & 255) - 126;
  vf m = as_float((bits & 0x007fffff) | 0x3f000000);  // [0.5, 1)
  const vi low = m < broadcast(0.707106781186547524f);
  exponent = exponent + low;  // a true lane is -1
  m = select(low, m + m, m) - broadcast(1.0f);
  const vf e = __builtin_convertvector(exponent, vf) - select(subnormal, broadcast(23.0f), zero());
  const vf z = m * m;
  vf p = broadcast(6.74737421e-2f);  // (log(1 + m) - m + m^2 / 2) / m^3, relative error of the logarithm 8e-10
  p = fma(p, m, broadcast(-1.167593204e-1f));
  p = fma(p, m, broadcast(1.188797204e-1f));
  p = fma(p, m, broadcast(-1.240551881e-1f));
  p = fma(p, m, broadcast(1.421956798e-1f));
  p = fma(p, m, broadcast(-1.666800114e-1f));
  p = fma(p, m, broadcast(2.000211818e-1f));
  p = fma(p, m, broadcast(-2.500000948e-1f));
  p = fma(p, m, broadcast(3.333331261e-1f));
  vf y = p * m * z;
  y = fma(e, broadcast(-2.12194440e-4f), y);
  y = fma(z, broadcast(-0.5f), y);
  y = m + y;
  y = fma(e, broadcast(0.693359375f), y);
  y = select(x == broadcast(__builtin_inff()), x, y);
  y = select(x == zero(), broadcast(-__builtin_inff()), y);
  y = select(x < zero(), broadcast(__builtin_nanf("")), y);
  return select(x == x, y, x);
}

}  // namespace COOLNN_ISA
}  // namespace coolnn
