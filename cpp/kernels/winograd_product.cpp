#include "kernels/winograd_product.h"

namespace coolnn {
namespace COOLNN_ISA {

constexpr int BLOCK = WINOGRAD_BLOCK;

// ---- v * u: ROWS tiles by VECTORS vectors of output channels, all input channels.

template <int ROWS, int VECTORS>
static void multiply_panel(const float* __restrict v, ptrdiff_t v_block, const float* __restrict u,
                           float* __restrict m, ptrdiff_t m_block, int64_t blocks, bool streaming) {
  constexpr int COLUMNS = VECTORS * VL;
  constexpr int AHEAD = BLOCK * COLUMNS;  // weights come from the second-level cache: one block of channels ahead
  constexpr int FAR = 3;                 // tiles come from further away: blocks ahead, at the end from the next panel
  vf sum[ROWS][VECTORS];
#pragma GCC unroll 16
  for (int t = 0; t < ROWS; t++)
#pragma GCC unroll 4
    for (int k = 0; k < VECTORS; k++) sum[t][k] = zero();
  for (int64_t block = 0; block < blocks; block++) {
#pragma GCC unroll 2
    for (int c = 0; c < BLOCK; c++) {
      vf weight[VECTORS];
#pragma GCC unroll 4
      for (int k = 0; k < VECTORS; k++) weight[k] = load(u + k * VL);
#pragma GCC unroll 4
      for (int k = 0; k < COLUMNS; k += 16) prefetch(u + AHEAD + k);
      if (c < ROWS) prefetch(v + FAR * v_block + c * BLOCK - c);
#pragma GCC unroll 16
      for (int t = 0; t < ROWS; t++) {
        const vf tile = broadcast(v[t * BLOCK]);
#pragma GCC unroll 4
        for (int k = 0; k < VECTORS; k++) sum[t][k] = fma(tile, weight[k], sum[t][k]);
      }
      u += COLUMNS;
      v++;
    }
    v += v_block - BLOCK;
  }
#pragma GCC unroll 16
  for (int t = 0; t < ROWS; t++)
#pragma GCC unroll 4
    for (int k = 0; k < VECTORS; k++) {
      float* const to = m + k * VL / BLOCK * m_block + t * BLOCK + k * VL % BLOCK;
      put(to, sum[t][k], streaming);
    }
  if (streaming) stream_fence();
}

using MultiplyPanel = void (*)(const float*, ptrdiff_t, const float*, float*, ptrdiff_t, int64_t, bool);

template <int VECTORS, int ROWS> static INLINE MultiplyPanel panel_of(int tiles) {
  if constexpr (ROWS == 1) return multiply_panel<1, VECTORS>;
  else return tiles == ROWS ? multiply_panel<ROWS, VECTORS> : panel_of<VECTORS, ROWS - 1>(tiles);
}

void multiply(int tiles, int columns, const float* v, ptrdiff_t v_block, const float* u, float* m, ptrdiff_t m_block,
              int64_t blocks, bool stream) {
  const MultiplyPanel panel = columns == PANEL_COLUMNS ? panel_of<PANEL_VECTORS, PANEL_ROWS>(tiles)
                                                       : panel_of<BLOCK / VL, PANEL_ROWS>(tiles);
  panel(v, v_block, u, m, m_block, blocks, stream);
}

// ---- sum of dT * v over tiles: ROWS of the 16 gradient channels of a block by VECTORS vectors of input channels.

constexpr int SUM_VECTORS = REGISTERS / 8;  // with six rows this fills three quarters of the registers

template <int ROWS, int VECTORS>
static void accumulate_rows(const float* d, const float* const* v, int tiles, float* sum, ptrdiff_t stride, bool add,
                            const float* later) {
  vf total[ROWS][VECTORS];
  const float* input[VECTORS];
#pragma GCC unroll 4
  for (int k = 0; k < VECTORS; k++) input[k] = v[k];
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
    for (int k = 0; k < VECTORS; k++) total[r][k] = add ? load(sum + r * stride + k * VL) : zero();
#pragma GCC unroll 2
  for (int t = 0; t < tiles; t++) {
    vf x[VECTORS];
#pragma GCC unroll 4
    for (int k = 0; k < VECTORS; k++) x[k] = load(input[k] + t * BLOCK);
    prefetch_l2(later + t * BLOCK);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
      const vf g = broadcast(d[t * BLOCK + r]);
#pragma GCC unroll 4
      for (int k = 0; k < VECTORS; k++) total[r][k] = fma(g, x[k], total[r][k]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
    for (int k = 0; k < VECTORS; k++) store(sum + r * stride + k * VL, total[r][k]);
}

// The next VECTORS vectors of v and their sums, for all 16 rows.
template <int VECTORS>
static void accumulate_columns(const float* d, const float* v, ptrdiff_t v_block, int tiles, float* sum,
                               ptrdiff_t stride, int64_t channel, bool add, const float* later_d,
                               const float* later_v) {
  const float* vectors[VECTORS];
  for (int k = 0; k < VECTORS; k++)
    vectors[k] = v + (channel + k * VL) / BLOCK * v_block + (channel + k * VL) % BLOCK;
  float* const to = sum + channel;
  accumulate_rows<6, VECTORS>(d, vectors, tiles, to, stride, add, later_d);
  accumulate_rows<5, VECTORS>(d + 6, vectors, tiles, to + 6 * stride, stride, add, later_v);
  accumulate_rows<5, VECTORS>(d + 11, vectors, tiles, to + 11 * stride, stride, add, d);
}

void accumulate(const float* d, const float* v, ptrdiff_t v_block, int tiles, float* sum, ptrdiff_t sum_stride,
                int64_t channels, bool add, const float* later_d, const float* later_v) {
  int64_t c = 0;
  for (; c + SUM_VECTORS * VL <= channels; c += SUM_VECTORS * VL)
    accumulate_columns<SUM_VECTORS>(d, v, v_block, tiles, sum, sum_stride, c, add, later_d, later_v);
  for (; c + 2 * VL <= channels; c += 2 * VL)
    accumulate_columns<2>(d, v, v_block, tiles, sum, sum_stride, c, add, later_d, later_v);
  for (; c < channels; c += VL) accumulate_columns<1>(d, v, v_block, tiles, sum, sum_stride, c, add, later_d, later_v);
}

// ---- packing of weights

template <int STEP, int... LANE> struct Lanes {
  // Lane l of the first result comes from a where l lacks the bit STEP, else from b; the other way round the second.
  static INLINE vf low(vf a, vf b) {
    return __builtin_shufflevector(a, b, (LANE & STEP ? VL + LANE - STEP : LANE)...);
  }
  static INLINE vf high(vf a, vf b) {
    return __builtin_shufflevector(a, b, (LANE & STEP ? VL + LANE : LANE + STEP)...);
  }
};
#if defined(__AVX512F__)
template <int STEP> using Exchange = Lanes<STEP, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15>;
#elif defined(__AVX2__)
template <int STEP> using Exchange = Lanes<STEP, 0, 1, 2, 3, 4, 5, 6, 7>;
#else
template <int STEP> using Exchange = Lanes<STEP, 0, 1, 2, 3>;
#endif

// A VL x VL matrix in as many vectors, by exchanging ever larger off-diagonal blocks.
template <int STEP> static INLINE void transpose(vf* x) {
  if constexpr (STEP < VL) {
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++)
      if ((i & STEP) == 0) {
        const vf a = x[i], b = x[i + STEP];
        x[i] = Exchange<STEP>::low(a, b);
        x[i + STEP] = Exchange<STEP>::high(a, b);
      }
    transpose<STEP * 2>(x);
  }
}

static INLINE vf load_up_to(const float* p, int64_t n) {
  return n >= VL ? load(p) : n > 0 ? load_partial(p, int(n)) : zero();
}

void pack_weights(const float* weights, int64_t outputs, int64_t inputs, bool rotate, int tap, int64_t first,
                  int columns, int64_t channel, int64_t channels, float* packed, bool streaming) {
  const int64_t output_stride = 9 * inputs;
  float* const to = packed + tap * columns;
  if (rotate) {
    for (int64_t c = 0; c < channels; c++) {
      const float* row = weights + (channel + c) * output_stride + (8 - tap) * inputs + first;
      const int64_t left = channel + c < outputs ? inputs - first : 0;
      for (int k = 0; k < columns; k += VL) put(to + c * 9 * columns + k, load_up_to(row + k, left - k), streaming);
    }
    if (streaming) stream_fence();
    return;
  }
  // Channels run in the inner loop: each row of weights is then read in a stream.
  for (int k = 0; k < columns; k += VL) {
    const float* row = weights + (first + k) * output_stride + tap * inputs + channel;
    for (int64_t c = 0; c < channels; c += VL) {
      vf x[VL];
#pragma GCC unroll 16
      for (int i = 0; i < VL; i++)
        x[i] = load_up_to(row + i * output_stride + c, first + k + i < outputs ? inputs - channel - c : 0);
      transpose<1>(x);
#pragma GCC unroll 16
      for (int i = 0; i < VL; i++) put(to + (c + i) * 9 * columns + k, x[i], streaming);
    }
  }
  if (streaming) stream_fence();
}

}  // namespace COOLNN_ISA
}  // namespace coolnn
