// The size of the matrix product's tile: ROWS x 2 vectors of accumulators stay in registers, beside two vectors of B and
// one number of A. And what the product's files share.
#pragma once
#include "kernels/gemm.h"
#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

constexpr int TILE_ROWS = REGISTERS == 32 ? 14 : 6;
constexpr int TILE_VECTORS = 2;
constexpr int TILE_COLUMNS = TILE_VECTORS * VL;
constexpr int NARROW_ROWS = 8;

// Columns of few rows whose sums registers hold, beside a vector of A and one of B for each column.
static constexpr int most_columns(int rows, int at_most) {
  const int most = (REGISTERS - 2) / (rows + 1);
  return most > at_most ? at_most : most < 1 ? 1 : most;
}

static INLINE vf load_up_to(const float* p, int n) { return n == VL ? load(p) : load_partial(p, n); }
static INLINE void store_up_to(float* p, vf x, int n) { n == VL ? store(p, x) : store_partial(p, x, n); }
static INLINE vf clamp(vf x, vf low, vf high) { return min(high, max(low, x)); }  // keeps NaN

// See GemmTable.
void pack_a(const float* from, int64_t row_stride, int64_t depth_stride, int64_t rows, int64_t depth, PanelOrder order,
            int64_t panels, float* to);
void pack_b(const float* from, int64_t depth_stride, int64_t column_stride, int64_t depth, int64_t columns,
            int64_t panel_depth, float* to);
void multiply_narrow(const NarrowProduct& product);

}  // namespace COOLNN_ISA
}  // namespace coolnn
