// Packing the operands of the matrix product.
#include "kernels/gemm_tile.h"
#include "kernels/transpose.h"
#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

static INLINE void copy(const float* from, float* to, int64_t n) {
  int64_t i = 0;
  for (; i + VL <= n; i += VL) store(to + i, load(from + i));
  if (i < n) store_partial(to + i, load_partial(from + i, int(n - i)), int(n - i));
}

// A row, while the one `ahead` floats further on is asked for: rows are too short for the processor to foresee the next.
static INLINE void copy_row(const float* from, float* to, int64_t n, int64_t ahead) {
  int64_t i = 0;
  for (; i + VL <= n; i += VL) {
    prefetch(from + i + ahead);
    store(to + i, load(from + i));
  }
  if (i < n) store_partial(to + i, load_partial(from + i, int(n - i)), int(n - i));
}

void pack_a(const float* from, int64_t row_stride, int64_t depth_stride, int64_t rows, int64_t depth, PanelOrder order,
            int64_t panels, float* to) {
  if (order == PanelOrder::rows) {
    for (int64_t r = 0; r < rows; r++) {
      const float* source = from + r * row_stride;
      float* target = to + r * GEMM_ROW_STRIDE;
      if (depth_stride == 1) copy_row(source, target, depth, r + 4 < rows ? 4 * row_stride : 0);
      else
        for (int64_t k = 0; k < depth; k++) target[k] = source[k * depth_stride];
    }
    return;
  }
  // Each step is read once across all panels, and the steps to come are asked for early.
  constexpr int64_t AHEAD = 16;
  const int64_t low_panel = rows / panels, tall = rows % panels;
  for (int64_t k = 0; k < depth; k++) {
    const float* source = from + k * depth_stride;
    float* target = to + k * TILE_ROWS;
    // Whole vectors, as long as what they write too much is the next step's: it is overwritten in its turn.
    const bool over = row_stride == 1 && depth_stride >= VL && k + 1 < depth;
    const int64_t ahead = k + AHEAD < depth ? AHEAD * depth_stride : 0;
    const float* at = source;
    for (int64_t panel = 0; panel < panels; panel++, target += depth * TILE_ROWS) {
      const int n = int(low_panel + (panel < tall));
      prefetch(at + ahead);
      if (over)
        for (int r = 0; r < n; r += VL) store(target + r, load(at + r));
      else if (row_stride == 1) copy(at, target, n);
      else
        for (int r = 0; r < n; r++) target[r] = at[r * row_stride];
      at += n * row_stride;
    }
  }
}

// Columns that lie one after another along the depth: squares are turned over in registers.
static void pack_b_transposed(const float* from, int64_t column_stride, int64_t depth, int columns, float* to) {
  for (int first = 0; first < columns; first += VL) {
    const int n = columns - first < VL ? columns - first : VL;
    for (int64_t k = 0; k < depth; k += VL) {
      const int steps = int(depth - k < VL ? depth - k : VL);
      vf square[VL];
#pragma GCC unroll 16
      for (int i = 0; i < VL; i++)
        square[i] = i < n ? load_up_to(from + (first + i) * column_stride + k, steps) : zero();
      transpose(square);
#pragma GCC unroll 16
      for (int i = 0; i < VL; i++)
        if (i < steps) store(to + (k + i) * TILE_COLUMNS + first, square[i]);
    }
  }
}

// Columns side by side: each row is read once across all panels, and the rows to come are asked for early, because
// they may lie pages apart.
static void pack_b_straight(const float* from, int64_t depth_stride, int64_t depth, int64_t columns,
                            int64_t panel_depth, float* to) {
  constexpr int64_t AHEAD = 8;
  const int64_t full = columns / TILE_COLUMNS * TILE_COLUMNS;
  for (int64_t k = 0; k < depth; k++) {
    const float* source = from + k * depth_stride;
    float* target = to + k * TILE_COLUMNS;
    const float* later = k + AHEAD < depth ? source + AHEAD * depth_stride : source;
    for (int64_t column = 0; column < full; column += TILE_COLUMNS, target += panel_depth * TILE_COLUMNS) {
      prefetch(later + column);
      prefetch(later + column + TILE_COLUMNS / 2);
#pragma GCC unroll 2
      for (int v = 0; v < TILE_VECTORS; v++) store(target + v * VL, load(source + column + v * VL));
    }
    copy(source + full, target, columns - full);
  }
}

void pack_b(const float* from, int64_t depth_stride, int64_t column_stride, int64_t depth, int64_t columns,
            int64_t panel_depth, float* to) {
  if (column_stride == 1) return pack_b_straight(from, depth_stride, depth, columns, panel_depth, to);
  for (int64_t column = 0; column < columns; column += TILE_COLUMNS) {
    const int n = int(columns - column < TILE_COLUMNS ? columns - column : TILE_COLUMNS);
    const float* source = from + column * column_stride;
    if (depth_stride == 1) {
      pack_b_transposed(source, column_stride, depth, n, to);
    } else {
      for (int64_t k = 0; k < depth; k++)
        for (int i = 0; i < n; i++) to[k * TILE_COLUMNS + i] = source[k * depth_stride + i * column_stride];
    }
    to += panel_depth * TILE_COLUMNS;
  }
}

}  // namespace COOLNN_ISA
}  // namespace coolnn
