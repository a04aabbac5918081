// The size of the matrix product's tile: ROWS x 2 vectors of accumulators stay in registers, beside two vectors of B and
// one number of A.
#pragma once
#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

constexpr int TILE_ROWS = REGISTERS == 32 ? 14 : 6;
constexpr int TILE_VECTORS = 2;
constexpr int TILE_COLUMNS = TILE_VECTORS * VL;

}  // namespace COOLNN_ISA
}  // namespace coolnn
