#pragma once
#include <stdint.h>

namespace coolnn {

// Most steps along the summed axis that one packed block holds, and the distance of its rows in floats (a little
// more, so that rows do not compete for the same lines of the first-level cache).
constexpr int GEMM_DEPTH = 256;
constexpr int GEMM_ROW_STRIDE = GEMM_DEPTH + 16;

// How a packed block of A lies in memory, in panels of `height` rows (at most the tile's).
enum class PanelOrder : int {
  rows,   // row t at t * GEMM_ROW_STRIDE, panels follow each other
  depth,  // step k at k * tile_rows, a panel every depth * tile_rows floats
};

// C (+)= A B for blocks in the cache. B lies in panels of tile_columns columns, [panel][k][column].
struct GemmBlock {
  const float* a;
  PanelOrder order;
  int64_t height;  // rows in a panel of A
  const float* b;
  int64_t rows, columns, depth;
  float* c;                    // first column
  const int64_t* row_offsets;  // where each row of C begins, in floats from c
  const float* bias;           // one number a column, or null; used where C is not accumulated
  bool accumulate;
};

// C = A B + bias for few rows, where the numbers that are summed lie one after another in A and in B^T: nothing is packed.
struct NarrowProduct {
  const float* a;
  int64_t a_stride, rows;  // rows <= GemmTable::most_narrow_rows
  const float* b;
  int64_t b_stride, columns;
  int64_t depth;
  float* c;
  int64_t c_stride;
  const float* bias;  // or null
};

struct GemmTable {
  int tile_rows, tile_columns;
  int most_narrow_rows;
  void (*multiply_narrow)(const NarrowProduct& product);
  void (*multiply)(const GemmBlock& block);
  // Packs rows x depth numbers of a strided matrix as A, in the given order.
  void (*pack_a)(const float* from, int64_t row_stride, int64_t depth_stride, int64_t rows, int64_t depth,
                 PanelOrder order, int64_t height, float* to);
  // Packs depth x columns numbers of a strided matrix as B; a panel begins every panel_depth * tile_columns floats.
  void (*pack_b)(const float* from, int64_t depth_stride, int64_t column_stride, int64_t depth, int64_t columns,
                 int64_t panel_depth, float* to);
  // to = sum of `count` arrays of n floats, `stride` apart, in order.
  void (*sum_partials)(const float* from, int64_t stride, int64_t count, float* to, int64_t n);
};

}  // namespace coolnn
