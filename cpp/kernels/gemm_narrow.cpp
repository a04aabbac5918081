// Matrix products of few rows: B is read once, where it lies, so its memory sets the pace. Both forms go through blocks
// of the depth in which A stays in the first-level cache, and ask for what they read next: B's rows may lie pages apart.
#include "kernels/gemm_tile.h"
#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

// ---- Where the numbers that are summed lie one after another: ROWS x COLUMNS sums, with the depth in the lanes.

constexpr int64_t DOT_DEPTH = 1024;  // of a block: so much of eight rows of A fits the first-level cache
constexpr int DOT_GROUPS = 8;        // groups of columns whose sums wait while the others are at work

// The steps [begin, end); `next` is where the columns lie that come afterwards.
template <int ROWS, int COLUMNS>
static void add_dots(const NarrowProduct& p, int64_t column, int64_t begin, int64_t end, const float* next, vf* sums) {
  vf sum[ROWS][COLUMNS];
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
    for (int c = 0; c < COLUMNS; c++) sum[r][c] = begin == 0 ? zero() : sums[r * COLUMNS + c];
  const float *a = p.a + begin, *b = p.b + column * p.b_column + begin;
  const auto add = [&](int64_t k, auto read) __attribute__((always_inline)) {
    vf right[COLUMNS];
#pragma GCC unroll 4
    for (int c = 0; c < COLUMNS; c++) right[c] = read(b + c * p.b_column + k);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
      const vf left = read(a + r * p.a_row + k);
#pragma GCC unroll 4
      for (int c = 0; c < COLUMNS; c++) sum[r][c] = fma(left, right[c], sum[r][c]);
    }
  };
  int64_t k = 0;
  for (; k + VL <= end - begin; k += VL) {
#pragma GCC unroll 4
    for (int c = 0; c < COLUMNS; c++) prefetch_l2(next + c * p.b_column + k);
    add(k, [](const float* from) __attribute__((always_inline)) { return load(from); });
  }
  if (const int lanes = int(end - begin - k); lanes > 0)
    add(k, [lanes](const float* from) __attribute__((always_inline)) { return load_partial(from, lanes); });
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
    for (int c = 0; c < COLUMNS; c++) sums[r * COLUMNS + c] = sum[r][c];
}

template <int ROWS, int COLUMNS> static void finish_dots(const NarrowProduct& p, int64_t column, const vf* sums) {
  const GemmEpilogue& e = p.epilogue;
  for (int r = 0; r < ROWS; r++)
    for (int c = 0; c < COLUMNS; c++) {
      const int64_t at = r * p.c_row + column + c;
      float result = sum_lanes(sums[r * COLUMNS + c]) + (e.bias != nullptr ? e.bias[column + c] : 0.0f);
      if (e.residual != nullptr) result += e.residual[at];
      p.c[at] = clamp(broadcast(result), broadcast(e.low), broadcast(e.high))[0];
    }
}

// `groups` times COLUMNS columns.
template <int ROWS, int COLUMNS> static void multiply_dots(const NarrowProduct& p, int64_t column, int groups) {
  vf sums[DOT_GROUPS][ROWS * COLUMNS];
  for (int64_t begin = 0; begin == 0 || begin < p.depth; begin += DOT_DEPTH) {
    const int64_t end = begin + DOT_DEPTH < p.depth ? begin + DOT_DEPTH : p.depth;
    for (int group = 0; group < groups; group++) {
      // After the last group the first one goes on with the next block of the depth.
      const int64_t following = group + 1 < groups ? column + (group + 1) * COLUMNS : column;
      const float* next = p.b + following * p.b_column + (group + 1 < groups ? begin : end);
      add_dots<ROWS, COLUMNS>(p, column + group * COLUMNS, begin, end, next, sums[group]);
    }
  }
  for (int group = 0; group < groups; group++)
    finish_dots<ROWS, COLUMNS>(p, column + group * COLUMNS, sums[group]);
}

template <int ROWS> static void multiply_all_dots(const NarrowProduct& p) {
  constexpr int COLUMNS = most_columns(ROWS, 4);
  int64_t column = 0;
  while (column + COLUMNS <= p.columns) {
    const int64_t left = (p.columns - column) / COLUMNS;
    const int groups = left < DOT_GROUPS ? int(left) : DOT_GROUPS;
    multiply_dots<ROWS, COLUMNS>(p, column, groups);
    column += groups * COLUMNS;
  }
  for (; column < p.columns; column++) multiply_dots<ROWS, 1>(p, column, 1);
}

// ---- Where columns lie side by side: ROWS x VECTORS sums, with the columns in the lanes, added to C after some steps
// (sums of sums lose less to rounding than one long one).

constexpr int64_t COLUMN_DEPTH = 16;  // rows of B that are read side by side

// The steps [begin, end) of the columns from `column` on; `last_columns` are in the last vector.
template <int ROWS, int VECTORS>
static INLINE void add_columns(const NarrowProduct& p, int64_t column, int64_t begin, int64_t end, int last_columns) {
  vf sum[ROWS][VECTORS];
  float* const c = p.c + column;
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; v++) sum[r][v] = zero();
  const float *a = p.a + begin * p.a_step, *b = p.b + begin * p.b_step + column;
  const int64_t ahead = COLUMN_DEPTH * p.b_step;
  for (int64_t k = begin; k < end; k++, a += p.a_step, b += p.b_step) {
    vf right[VECTORS];
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; v++) {
      if (v * VL % 16 == 0) prefetch_l2(b + ahead + v * VL);
      right[v] = load_up_to(b + v * VL, v == VECTORS - 1 ? last_columns : VL);
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
      const vf left = broadcast(a[r * p.a_row]);
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; v++) sum[r][v] = fma(left, right[v], sum[r][v]);
    }
  }
  const GemmEpilogue& e = p.epilogue;
  const bool last = end == p.depth;
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; v++) {
      const int n = v == VECTORS - 1 ? last_columns : VL;
      const int64_t at = r * p.c_row + v * VL;
      vf result = begin == 0 ? sum[r][v] : sum[r][v] + load_up_to(c + at, n);
      if (last) {
        if (e.bias != nullptr) result = result + load_up_to(e.bias + column + v * VL, n);
        if (e.residual != nullptr) result = result + load_up_to(e.residual + column + at, n);
        result = clamp(result, broadcast(e.low), broadcast(e.high));
      }
      store_up_to(c + at, result, n);
    }
}

template <int ROWS> static void multiply_all_columns(const NarrowProduct& p) {
  constexpr int VECTORS = most_columns(ROWS, 8);
  for (int64_t begin = 0; begin == 0 || begin < p.depth; begin += COLUMN_DEPTH) {
    const int64_t end = begin + COLUMN_DEPTH < p.depth ? begin + COLUMN_DEPTH : p.depth;
    int64_t column = 0;
    for (; column + VECTORS * VL <= p.columns; column += VECTORS * VL)
      add_columns<ROWS, VECTORS>(p, column, begin, end, VL);
    for (; column < p.columns; column += VL)
      add_columns<ROWS, 1>(p, column, begin, end, int(p.columns - column < VL ? p.columns - column : VL));
  }
}

template <int ROWS> static void multiply_rows(const NarrowProduct& p) {
  if (p.b_step == 1 && p.a_step == 1) multiply_all_dots<ROWS>(p);
  else multiply_all_columns<ROWS>(p);
}

void multiply_narrow(const NarrowProduct& p) {
  static void (*const functions[])(const NarrowProduct&) = {
      multiply_rows<1>, multiply_rows<2>, multiply_rows<3>, multiply_rows<4>,
      multiply_rows<5>, multiply_rows<6>, multiply_rows<7>, multiply_rows<8>,
  };
  static_assert(sizeof functions / sizeof functions[0] == NARROW_ROWS, "one for each number of rows");
  functions[p.rows - 1](p);
}

}  // namespace COOLNN_ISA
}  // namespace coolnn
