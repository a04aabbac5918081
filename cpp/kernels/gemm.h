#pragma once
#include <stdint.h>

namespace coolnn {

// Most steps along the summed axis that one packed block holds, and the distance of its rows in floats (a little
// more, so that rows do not compete for the same lines of the first-level cache).
constexpr int GEMM_DEPTH = 512;
constexpr int GEMM_ROW_STRIDE = GEMM_DEPTH + 16;

// How a packed block of A lies in memory. Its rows are dealt out to panels, at most the tile's rows each: the first
// rows % panels of them have one row more than the others.
enum class PanelOrder : int {
  rows,   // row t of the block at t * GEMM_ROW_STRIDE
  depth,  // step k of a panel at k * tile_rows, a panel every depth * tile_rows floats
};

// What becomes of a sum: C = clamp(sum + bias + residual, low, high). A NaN stays one.
struct GemmEpilogue {
  const float* bias = nullptr;      // one number a column
  const float* residual = nullptr;  // laid out as C
  float low = -__builtin_inff(), high = __builtin_inff();
};

// C (+)= A B for blocks in the cache.
struct GemmBlock {
  const float* a;
  PanelOrder order;
  int64_t panels;  // of A
  const float* b;
  int64_t b_step, b_panel;  // floats from step to step, and from one tile_columns columns to the next; whole vectors are read
  int64_t rows, columns, depth;
  float* c;                    // first column
  const int64_t* row_offsets;  // where each row of C (and of the residual) begins, in floats from c
  GemmEpilogue epilogue;       // from the first column on; no bias where C is accumulated
  bool accumulate;
  const float* ahead;          // memory to ask for meanwhile: what the next block packs
  int64_t ahead_floats;
};

// C = A B for few rows (1 to GemmTable::most_narrow_rows), with nothing packed.
struct NarrowProduct {
  const float* a;
  int64_t a_row, a_step, rows;
  const float* b;
  int64_t b_step, b_column, columns;  // one of the two is 1
  int64_t depth;
  float* c;
  int64_t c_row;
  GemmEpilogue epilogue;  // from the first column on
};

struct GemmTable {
  int tile_rows, tile_columns;
  int most_narrow_rows;
  void (*multiply_narrow)(const NarrowProduct& product);
  void (*multiply)(const GemmBlock& block);
  // Packs rows x depth numbers of a strided matrix as A, in the given order.
  void (*pack_a)(const float* from, int64_t row_stride, int64_t depth_stride, int64_t rows, int64_t depth,
                 PanelOrder order, int64_t panels, float* to);
  // Packs depth x columns numbers of a strided matrix as B, [panel][step][column]; a panel of tile_columns columns begins
  // every panel_depth * tile_columns floats.
  void (*pack_b)(const float* from, int64_t depth_stride, int64_t column_stride, int64_t depth, int64_t columns,
                 int64_t panel_depth, float* to);
  // to = sum of `count` arrays of n floats, `stride` apart, in order.
  void (*sum_partials)(const float* from, int64_t stride, int64_t count, float* to, int64_t n);
};

}  // namespace coolnn
