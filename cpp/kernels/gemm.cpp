// The matrix product's tile and the packing of its operands.
#include "kernels/gemm.h"

#include "kernels/gemm_tile.h"
#include "kernels/transpose.h"
#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

struct Tile {
  const float* a;
  const float* b;
  int64_t depth;
  float* c;
  const int64_t* row_offsets;
  const float* bias;
  bool accumulate;
  int last_columns;  // columns in the tile's last vector
};

static INLINE vf load_up_to(const float* p, int n) { return n == VL ? load(p) : load_partial(p, n); }
static INLINE void store_up_to(float* p, vf x, int n) { n == VL ? store(p, x) : store_partial(p, x, n); }

template <int ROWS, int VECTORS, PanelOrder ORDER> static void multiply_tile(const Tile& t) {
  constexpr int ROW_STEP = ORDER == PanelOrder::rows ? GEMM_ROW_STRIDE : 1;
  constexpr int DEPTH_STEP = ORDER == PanelOrder::rows ? 1 : TILE_ROWS;
  vf sum[ROWS][VECTORS];
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; r++) {
    prefetch(t.c + t.row_offsets[r]);
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; v++) sum[r][v] = zero();
  }
  const float* a = t.a;
  const float* b = t.b;
#pragma GCC unroll 2
  for (int64_t k = 0; k < t.depth; k++) {
    vf column[VECTORS];
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; v++) column[v] = load(b + v * VL);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
      const vf row = broadcast(a[r * ROW_STEP]);
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; v++) sum[r][v] = fma(row, column[v], sum[r][v]);
    }
    a += DEPTH_STEP;
    b += TILE_COLUMNS;
  }
#pragma GCC unroll 2
  for (int v = 0; v < VECTORS; v++) {
    const int n = v == VECTORS - 1 ? t.last_columns : VL;
    const vf bias = t.bias != nullptr ? load_up_to(t.bias + v * VL, n) : zero();
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
      float* c = t.c + t.row_offsets[r] + v * VL;
      store_up_to(c, sum[r][v] + (t.accumulate ? load_up_to(c, n) : bias), n);
    }
  }
}

using TileFunction = void (*)(const Tile&);
template <int VECTORS, PanelOrder ORDER> struct Tiles {
  static TileFunction of(int64_t rows) {
#define ROWS(R) R <= TILE_ROWS ? multiply_tile < R <= TILE_ROWS ? R : 1, VECTORS, ORDER > : nullptr
    static const TileFunction functions[] = {ROWS(1), ROWS(2), ROWS(3),  ROWS(4),  ROWS(5),  ROWS(6),  ROWS(7),
                                             ROWS(8), ROWS(9), ROWS(10), ROWS(11), ROWS(12), ROWS(13), ROWS(14)};
#undef ROWS
    return functions[rows - 1];
  }
};

template <PanelOrder ORDER> static void multiply_panels(const GemmBlock& block) {
  const int64_t panel_floats = ORDER == PanelOrder::rows ? block.height * GEMM_ROW_STRIDE : block.depth * TILE_ROWS;
  for (int64_t column = 0; column < block.columns; column += TILE_COLUMNS) {
    const int64_t columns = block.columns - column < TILE_COLUMNS ? block.columns - column : TILE_COLUMNS;
    Tile tile;
    tile.a = block.a;
    tile.b = block.b + column * block.depth;
    tile.depth = block.depth;
    tile.c = block.c + column;
    tile.bias = block.bias != nullptr ? block.bias + column : nullptr;
    tile.accumulate = block.accumulate;
    tile.last_columns = int(columns > VL ? columns - VL : columns);
    for (int64_t row = 0; row < block.rows; row += block.height) {
      const int64_t rows = block.rows - row < block.height ? block.rows - row : block.height;
      tile.row_offsets = block.row_offsets + row;
      (columns > VL ? Tiles<2, ORDER>::of(rows) : Tiles<1, ORDER>::of(rows))(tile);
      tile.a += panel_floats;
    }
  }
}

static void multiply(const GemmBlock& block) {
  if (block.order == PanelOrder::rows) multiply_panels<PanelOrder::rows>(block);
  else multiply_panels<PanelOrder::depth>(block);
}

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

static void pack_a(const float* from, int64_t row_stride, int64_t depth_stride, int64_t rows, int64_t depth,
                   PanelOrder order, int64_t height, float* to) {
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
  for (int64_t k = 0; k < depth; k++) {
    const float* source = from + k * depth_stride;
    float* target = to + k * TILE_ROWS;
    // Whole vectors, as long as what they write too much is the next step's: it is overwritten in its turn.
    const bool over = row_stride == 1 && depth_stride >= VL && k + 1 < depth;
    const int64_t ahead = k + AHEAD < depth ? AHEAD * depth_stride : 0;
    for (int64_t row = 0; row < rows; row += height, target += depth * TILE_ROWS) {
      const int n = int(rows - row < height ? rows - row : height);
      const float* at = source + row * row_stride;
      prefetch(at + ahead);
      if (over)
        for (int r = 0; r < n; r += VL) store(target + r, load(at + r));
      else if (row_stride == 1) copy(at, target, n);
      else
        for (int r = 0; r < n; r++) target[r] = at[r * row_stride];
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

static void pack_b(const float* from, int64_t depth_stride, int64_t column_stride, int64_t depth, int64_t columns,
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

static void sum_partials(const float* from, int64_t stride, int64_t count, float* to, int64_t n) {
  for (int64_t i = 0; i < n; i += VL) {
    const int lanes = int(n - i < VL ? n - i : VL);
    vf sum = load_up_to(from + i, lanes);
    for (int64_t p = 1; p < count; p++) sum = sum + load_up_to(from + p * stride + i, lanes);
    store_up_to(to + i, sum, lanes);
  }
}

constexpr int NARROW_ROWS = REGISTERS == 32 ? 4 : 2;

// ROWS x COLUMNS sums, with the depth in the lanes.
template <int ROWS, int COLUMNS> static void multiply_dots(const NarrowProduct& p, int64_t column) {
  vf sum[ROWS][COLUMNS];
#pragma GCC unroll 4
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
    for (int c = 0; c < COLUMNS; c++) sum[r][c] = zero();
  const float* b = p.b + column * p.b_stride;
  for (int64_t k = 0; k < p.depth; k += VL) {
    const int lanes = int(p.depth - k < VL ? p.depth - k : VL);
    vf right[COLUMNS];
#pragma GCC unroll 4
    for (int c = 0; c < COLUMNS; c++) right[c] = load_up_to(b + c * p.b_stride + k, lanes);
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++) {
      const vf left = load_up_to(p.a + r * p.a_stride + k, lanes);
#pragma GCC unroll 4
      for (int c = 0; c < COLUMNS; c++) sum[r][c] = fma(left, right[c], sum[r][c]);
    }
  }
  for (int r = 0; r < ROWS; r++)
    for (int c = 0; c < COLUMNS; c++)
      p.c[r * p.c_stride + column + c] = sum_lanes(sum[r][c]) + (p.bias != nullptr ? p.bias[column + c] : 0.0f);
}

template <int ROWS> static void multiply_rows(const NarrowProduct& p) {
  int64_t column = 0;
  for (; column + 4 <= p.columns; column += 4) multiply_dots<ROWS, 4>(p, column);
  for (; column < p.columns; column++) multiply_dots<ROWS, 1>(p, column);
}

static void multiply_narrow(const NarrowProduct& p) {
  switch (p.rows) {
    case 1: return multiply_rows<1>(p);
    case 2: return multiply_rows<2>(p);
    case 3: return multiply_rows<3 <= NARROW_ROWS ? 3 : 1>(p);
    case 4: return multiply_rows<4 <= NARROW_ROWS ? 4 : 1>(p);
  }
}

extern const GemmTable gemm_table;
const GemmTable gemm_table = {TILE_ROWS, TILE_COLUMNS, NARROW_ROWS, multiply_narrow, multiply, pack_a, pack_b, sum_partials};

}  // namespace COOLNN_ISA
}  // namespace coolnn
