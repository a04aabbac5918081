// Matrix products of few rows: B is read once, where it lies.
#include "kernels/gemm_tile.h"
#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

// Where the numbers that are summed lie one after another: ROWS x COLUMNS sums, with the depth in the lanes.
template <int ROWS, int COLUMNS> static void multiply_dots(const NarrowProduct& p, int64_t column) {
  vf sum[ROWS][COLUMNS];
#pragma GCC unroll 4
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
    for (int c = 0; c < COLUMNS; c++) sum[r][c] = zero();
  const float* b = p.b + column * p.b_column;
  for (int64_t k = 0; k < p.depth; k += VL) {
    const int lanes = int(p.depth - k < VL ? p.depth - k : VL);
    vf right[COLUMNS];
#pragma GCC unroll 4
    for (int c = 0; c < COLUMNS; c++) right[c] = load_up_to(b + c * p.b_column + k, lanes);
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++) {
      const vf left = load_up_to(p.a + r * p.a_row + k, lanes);
#pragma GCC unroll 4
      for (int c = 0; c < COLUMNS; c++) sum[r][c] = fma(left, right[c], sum[r][c]);
    }
  }
  const GemmEpilogue& e = p.epilogue;
  for (int r = 0; r < ROWS; r++)
    for (int c = 0; c < COLUMNS; c++) {
      const int64_t at = r * p.c_row + column + c;
      float result = sum_lanes(sum[r][c]) + (e.bias != nullptr ? e.bias[column + c] : 0.0f);
      if (e.residual != nullptr) result += e.residual[at];
      p.c[at] = clamp(broadcast(result), broadcast(e.low), broadcast(e.high))[0];
    }
}

// Where columns lie side by side: ROWS x VECTORS sums, with the columns in the lanes. Rows of B may lie pages apart, so
// the ones to come are asked for early.
template <int ROWS, int VECTORS> static void multiply_columns(const NarrowProduct& p, int64_t column, int last_columns) {
  constexpr int64_t AHEAD = 16;
  vf sum[ROWS][VECTORS];
#pragma GCC unroll 4
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; v++) sum[r][v] = zero();
  const float* b = p.b + column;
  const int64_t ahead = AHEAD * p.b_step;
  for (int64_t k = 0; k < p.depth; k++, b += p.b_step) {
    vf right[VECTORS];
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; v++) {
      if (v * VL % 16 == 0) prefetch(b + ahead + v * VL);
      right[v] = load_up_to(b + v * VL, v == VECTORS - 1 ? last_columns : VL);
    }
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++) {
      const vf left = broadcast(p.a[r * p.a_row + k * p.a_step]);
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; v++) sum[r][v] = fma(left, right[v], sum[r][v]);
    }
  }
  const GemmEpilogue& e = p.epilogue;
#pragma GCC unroll 4
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; v++) {
      const int n = v == VECTORS - 1 ? last_columns : VL;
      const int64_t from = column + v * VL, at = r * p.c_row + from;
      vf result = sum[r][v];
      if (e.bias != nullptr) result = result + load_up_to(e.bias + from, n);
      if (e.residual != nullptr) result = result + load_up_to(e.residual + at, n);
      store_up_to(p.c + at, clamp(result, broadcast(e.low), broadcast(e.high)), n);
    }
}

// As many sums as registers hold: they hide the latency of a multiply-add, and long runs of B suit the memory.
template <int ROWS> static void multiply_rows(const NarrowProduct& p) {
  int64_t column = 0;
  if (p.b_step == 1 && p.a_step == 1) {
    constexpr int COLUMNS = REGISTERS == 32 || ROWS <= 2 ? 4 : 2;
    for (; column + COLUMNS <= p.columns; column += COLUMNS) multiply_dots<ROWS, COLUMNS>(p, column);
    for (; column < p.columns; column++) multiply_dots<ROWS, 1>(p, column);
    return;
  }
  constexpr int MOST = (REGISTERS - 8) / ROWS, VECTORS = MOST > 8 ? 8 : MOST;
  for (; column + VECTORS * VL <= p.columns; column += VECTORS * VL) multiply_columns<ROWS, VECTORS>(p, column, VL);
  for (; column < p.columns; column += VL)
    multiply_columns<ROWS, 1>(p, column, int(p.columns - column < VL ? p.columns - column : VL));
}

void multiply_narrow(const NarrowProduct& p) {
  switch (p.rows) {
    case 1: return multiply_rows<1>(p);
    case 2: return multiply_rows<2>(p);
    case 3: return multiply_rows<3>(p);
    case 4: return multiply_rows<4>(p);
  }
}

}  // namespace COOLNN_ISA
}  // namespace coolnn
