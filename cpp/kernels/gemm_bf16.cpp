// The matrix product of bfloat16 numbers, for processors whose vectors multiply pairs of them. Compiled once, beside the
// tables of AVX-512; see CMakeLists.txt.
#include "kernels/gemm_bf16.h"

#include "kernels/gemm_panels.h"
#include "kernels/gemm_tile.h"
#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

// Words are moved as numbers of 32 bits; the lower half is the earlier step.
static INLINE vi load_words(const uint32_t* p) { return load_int((const int32_t*)p); }
static INLINE void store_words(uint32_t* p, vi words) { store_int((int32_t*)p, words); }
static INLINE vf add_products(vi a, vi b, vf sum) { return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b); }

// Two vectors of numbers that follow each other, as one of words.
static INLINE vi round(vf first, vf second) { return (vi)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first); }
// A number of each vector in every word.
static INLINE vi round_pairs(vf first, vf second) {
  const auto wide = [](vf x) { return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)x)); };
  return (vi)_mm512_or_si512(wide(first), _mm512_slli_epi32(wide(second), 16));
}

// Rounds a row to whole vectors of words.
static INLINE void round_row(const float* from, int64_t depth, uint32_t* to, int64_t ahead) {
  int64_t k = 0;
  for (; k + 2 * VL <= depth; k += 2 * VL) {
    prefetch(from + k + ahead);
    prefetch(from + k + VL + ahead);
    store_words(to + k / 2, round(load(from + k), load(from + k + VL)));
  }
  if (k == depth) return;
  const int64_t left = depth - k;
  const vf first = load_up_to(from + k, left < VL ? int(left) : VL);
  const vf second = left > VL ? load_partial(from + k + VL, int(left - VL)) : zero();
  store_words(to + k / 2, round(first, second));
}

static INLINE void round_rows_to(const float* from, int64_t row_stride, int64_t rows, int64_t depth, uint32_t* to,
                                 int64_t to_stride) {
  for (int64_t r = 0; r < rows; r++)
    round_row(from + r * row_stride, depth, to + r * to_stride, r + 4 < rows ? 4 * row_stride : 0);
}
static void round_rows(const float* from, int64_t row_stride, int64_t rows, int64_t depth, uint32_t* to) {
  round_rows_to(from, row_stride, rows, depth, to, GEMM_ROW_STRIDE);
}
static void round_dense(const float* from, int64_t row_stride, int64_t rows, int64_t depth, uint32_t* to) {
  round_rows_to(from, row_stride, rows, depth, to, (depth + 2 * VL - 1) / (2 * VL) * VL);
}

static void round_panels(const float* from, int64_t panels, int64_t depth, uint32_t* to) {
  for (int64_t panel = 0; panel < panels; panel++) {
    for (int64_t k = 0; k < depth; k += 2, from += 2 * TILE_COLUMNS, to += TILE_COLUMNS)
      for (int v = 0; v < TILE_COLUMNS; v += VL)
        store_words(to + v, round_pairs(load(from + v), k + 1 < depth ? load(from + TILE_COLUMNS + v) : zero()));
    if (depth % 2 != 0) from -= TILE_COLUMNS;
  }
}

struct Pairs {
  using Vector = vi;
  static INLINE vi load(const float* words) { return load_int((const int32_t*)words); }
  static INLINE vi broadcast(const float* word) { return broadcast_int(*(const int_in_float*)word); }
  static INLINE vf multiply_add(vi a, vi b, vf sum) { return add_products(a, b, sum); }

 private:
  typedef int32_t int_in_float __attribute__((may_alias));
};

static void multiply(const GemmBlock& block) { multiply_panels<Pairs, PanelOrder::rows>(block); }

// ---- Few rows: B is read once, from one end to the other, so its memory sets the pace.

static int narrow_columns(int64_t rows) { return most_columns(int(rows), 4); }

static void pack_narrow(const float* from, int64_t column_stride, int64_t columns, int64_t depth, int64_t rows, uint32_t* to) {
  const int group = narrow_columns(rows);
  uint32_t words[GEMM_DEPTH / 2];
  for (int64_t first = 0; first < columns; first += group) {
    for (int64_t k = 0; k < depth; k += GEMM_DEPTH) {
      const int64_t steps = depth - k < GEMM_DEPTH ? depth - k : GEMM_DEPTH;
      const int64_t vectors = (steps + 2 * VL - 1) / (2 * VL);
      for (int c = 0; c < group; c++) {
        if (first + c < columns) round_row(from + (first + c) * column_stride + k, steps, words, 0);
        for (int64_t v = 0; v < vectors; v++)
          store_words(to + (v * group + c) * VL, first + c < columns ? load_words(words + v * VL) : vi{});
      }
      to += vectors * group * VL;
    }
  }
}

template <int ROWS> static void multiply_narrow_rows(const NarrowBf16Product& p) {
  constexpr int COLUMNS = most_columns(ROWS, 4);
  constexpr int64_t AHEAD = 2048;  // words
  const GemmEpilogue& e = p.epilogue;
  const uint32_t* b = p.b;
  for (int64_t column = 0; column < p.columns; column += COLUMNS) {
    vf sum[ROWS][COLUMNS];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
      for (int c = 0; c < COLUMNS; c++) sum[r][c] = zero();
    for (int64_t k = 0; k < p.words; k += VL, b += COLUMNS * VL) {
      vi right[COLUMNS];
#pragma GCC unroll 4
      for (int c = 0; c < COLUMNS; c++) {
        prefetch_l2(b + AHEAD + c * VL);
        right[c] = load_words(b + c * VL);
      }
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; r++) {
        const vi left = load_words(p.a + r * p.words + k);
#pragma GCC unroll 4
        for (int c = 0; c < COLUMNS; c++) sum[r][c] = add_products(left, right[c], sum[r][c]);
      }
    }
    for (int r = 0; r < ROWS; r++)
      for (int c = 0; c < COLUMNS && column + c < p.columns; c++) {
        const int64_t at = r * p.c_row + column + c;
        float result = sum_lanes(sum[r][c]) + (e.bias != nullptr ? e.bias[column + c] : 0.0f);
        if (e.residual != nullptr) result += e.residual[at];
        p.c[at] = clamp(broadcast(result), broadcast(e.low), broadcast(e.high))[0];
      }
  }
}

static void multiply_narrow(const NarrowBf16Product& p) {
  static void (*const functions[])(const NarrowBf16Product&) = {
      multiply_narrow_rows<1>, multiply_narrow_rows<2>, multiply_narrow_rows<3>, multiply_narrow_rows<4>,
      multiply_narrow_rows<5>, multiply_narrow_rows<6>, multiply_narrow_rows<7>, multiply_narrow_rows<8>,
  };
  static_assert(sizeof functions / sizeof functions[0] == NARROW_ROWS, "one for each number of rows");
  functions[p.rows - 1](p);
}

extern const Bf16Table bf16_table;
const Bf16Table bf16_table = {VL,       round_rows,     round_dense, round_panels,
                              multiply, narrow_columns, pack_narrow, multiply_narrow};

}  // namespace COOLNN_ISA
}  // namespace coolnn
