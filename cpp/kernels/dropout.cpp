#include "kernels/dropout.h"

#include "simd.h"
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace coolnn {
namespace COOLNN_ISA {
namespace {

// Counters of several blocks side by side, one in the low half of each 64-bit lane: products of 32-bit words fit.
constexpr int LANES = VL / 2;
typedef uint64_t words64 __attribute__((vector_size(VL * 4)));

constexpr uint64_t LOW = 0xffffffffu;
constexpr uint64_t MULTIPLIER_0 = 0xD2511F53u, MULTIPLIER_1 = 0xCD9E8D57u;
constexpr uint64_t WEYL_0 = 0x9E3779B9u, WEYL_1 = 0xBB67AE85u;  // what the key grows by from round to round

// The product of the low halves.
INLINE words64 multiply(words64 a, uint64_t b) {
#if defined(__AVX512F__)
  return (words64)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(int64_t(b)));
#elif defined(__AVX2__)
  return (words64)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(int64_t(b)));
#elif defined(__SSE2__)
  return (words64)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x(int64_t(b)));
#else
  return (a & LOW) * b;
#endif
}

void philox(uint64_t key, uint64_t offset, uint64_t first, int64_t blocks, uint32_t* words) {
  for (int64_t block = 0; block < blocks; block += LANES) {
    words64 index;
    for (int i = 0; i < LANES; i++) index[i] = first + uint64_t(block) + uint64_t(i);
    words64 c0 = index & LOW, c1 = index >> 32, c2 = (words64){} + (offset & LOW), c3 = (words64){} + (offset >> 32);
    uint64_t k0 = key & LOW, k1 = key >> 32;
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++) {
      const words64 p0 = multiply(c0, MULTIPLIER_0), p1 = multiply(c2, MULTIPLIER_1);
      c0 = (p1 >> 32) ^ c1 ^ k0;
      c2 = (p0 >> 32) ^ c3 ^ k1;
      c1 = p1 & LOW;
      c3 = p0 & LOW;
      k0 = (k0 + WEYL_0) & LOW, k1 = (k1 + WEYL_1) & LOW;
    }
    const words64 front = c0 | c1 << 32, back = c2 | c3 << 32;
    const int valid = blocks - block < LANES ? int(blocks - block) : LANES;
    for (int i = 0; i < valid; i++) {
      const uint64_t pair[2] = {front[i], back[i]};  // on the little-endian processors that we know
      __builtin_memcpy(words + (block + i) * PHILOX_WORDS, pair, sizeof pair);
    }
  }
}

void dropout(const float* __restrict x, const uint32_t* __restrict words, uint64_t threshold, float scale,
             float* __restrict y, uint8_t* __restrict mask, int64_t n) {
  if (threshold > LOW) {  // p = 1: nothing is kept
    for (int64_t i = 0; i < n; i++) y[i] = 0, mask[i] = 0;
    return;
  }
  const uint32_t bound = uint32_t(threshold);
  for (int64_t i = 0; i < n; i++) {
    const bool kept = words[i] >= bound;
    mask[i] = kept;
    y[i] = kept ? x[i] * scale : 0.0f;
  }
}

void dropout_grad(const float* __restrict grad, const uint8_t* __restrict mask, float scale, float* __restrict dx,
                  int64_t n) {
  for (int64_t i = 0; i < n; i++) dx[i] = mask[i] ? grad[i] * scale : 0.0f;
}

}  // namespace

extern const DropoutTable dropout_table;
const DropoutTable dropout_table = {philox, dropout, dropout_grad};

}  // namespace COOLNN_ISA
}  // namespace coolnn
