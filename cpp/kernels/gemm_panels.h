// The matrix product's tile, for what the numbers are whose products are summed: each step of the depth is a word of 32
// bits in A and in B, and NUMBERS says how the words of a step are read and multiplied.
#pragma once
#include "kernels/gemm.h"
#include "kernels/gemm_tile.h"
#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

struct Tile {
  const float* a;
  const float* b;
  int64_t b_step, depth;
  float* c;
  const int64_t* row_offsets;
  GemmEpilogue epilogue;
  bool accumulate;
  int last_columns;  // columns in the tile's last vector
  const float* ahead;
  int64_t ahead_step;  // floats for which memory is asked at each step: a cache line, or nothing
};

template <class NUMBERS, int ROWS, int VECTORS, PanelOrder ORDER> static void multiply_tile(const Tile& t) {
  constexpr int ROW_STEP = ORDER == PanelOrder::rows ? GEMM_ROW_STRIDE : 1;
  constexpr int DEPTH_STEP = ORDER == PanelOrder::rows ? 1 : TILE_ROWS;
  vf sum[ROWS][VECTORS];
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; v++) {
      prefetch(t.c + t.row_offsets[r] + v * VL);
      sum[r][v] = zero();
    }
  }
  const float* a = t.a;
  const float* b = t.b;
  const float* ahead = t.ahead;
#pragma GCC unroll 2
  for (int64_t k = 0; k < t.depth; k++) {
    typename NUMBERS::Vector column[VECTORS];
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; v++) column[v] = NUMBERS::load(b + v * VL);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
      const typename NUMBERS::Vector row = NUMBERS::broadcast(a + r * ROW_STEP);
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; v++) sum[r][v] = NUMBERS::multiply_add(row, column[v], sum[r][v]);
    }
    prefetch_l2(ahead);
    ahead += t.ahead_step;
    a += DEPTH_STEP;
    b += t.b_step;
  }
  const vf low = broadcast(t.epilogue.low), high = broadcast(t.epilogue.high);
#pragma GCC unroll 2
  for (int v = 0; v < VECTORS; v++) {
    const int n = v == VECTORS - 1 ? t.last_columns : VL;
    const vf bias = t.epilogue.bias != nullptr ? load_up_to(t.epilogue.bias + v * VL, n) : zero();
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
      float* c = t.c + t.row_offsets[r] + v * VL;
      vf result = sum[r][v] + (t.accumulate ? load_up_to(c, n) : bias);
      if (t.epilogue.residual != nullptr) result = result + load_up_to(t.epilogue.residual + t.row_offsets[r] + v * VL, n);
      store_up_to(c, clamp(result, low, high), n);
    }
  }
}

using TileFunction = void (*)(const Tile&);
template <class NUMBERS, int VECTORS, PanelOrder ORDER> struct Tiles {
  static TileFunction of(int64_t rows) {
#define ROWS(R) R <= TILE_ROWS ? multiply_tile < NUMBERS, R <= TILE_ROWS ? R : 1, VECTORS, ORDER > : nullptr
    static const TileFunction functions[] = {ROWS(1), ROWS(2), ROWS(3),  ROWS(4),  ROWS(5),  ROWS(6),  ROWS(7),
                                             ROWS(8), ROWS(9), ROWS(10), ROWS(11), ROWS(12), ROWS(13), ROWS(14)};
#undef ROWS
    return functions[rows - 1];
  }
};

template <class NUMBERS, PanelOrder ORDER> static void multiply_panels(const GemmBlock& block) {
  constexpr int64_t LINE = 16;  // floats
  const int64_t low_panel = block.rows / block.panels, tall = block.rows % block.panels;
  int64_t asked = 0;
  for (int64_t column = 0; column < block.columns; column += TILE_COLUMNS) {
    const int64_t columns = block.columns - column < TILE_COLUMNS ? block.columns - column : TILE_COLUMNS;
    Tile tile;
    tile.a = block.a;
    tile.b = block.b + column / TILE_COLUMNS * block.b_panel;
    tile.b_step = block.b_step;
    tile.depth = block.depth;
    tile.c = block.c + column;
    tile.epilogue = block.epilogue;
    if (tile.epilogue.bias != nullptr) tile.epilogue.bias += column;
    if (tile.epilogue.residual != nullptr) tile.epilogue.residual += column;
    tile.accumulate = block.accumulate;
    tile.last_columns = int(columns > VL ? columns - VL : columns);
    tile.row_offsets = block.row_offsets;
    for (int64_t panel = 0; panel < block.panels; panel++) {
      const int64_t rows = low_panel + (panel < tall);
      const bool asks = asked < block.ahead_floats;
      tile.ahead = asks ? block.ahead + asked : block.a;
      tile.ahead_step = asks ? LINE : 0;
      asked += block.depth * LINE;
      (columns > VL ? Tiles<NUMBERS, 2, ORDER>::of(rows) : Tiles<NUMBERS, 1, ORDER>::of(rows))(tile);
      tile.a += ORDER == PanelOrder::rows ? rows * GEMM_ROW_STRIDE : block.depth * TILE_ROWS;
      tile.row_offsets += rows;
    }
  }
}

}  // namespace COOLNN_ISA
}  // namespace coolnn
