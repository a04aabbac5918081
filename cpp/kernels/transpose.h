// A square of VL x VL floats turned over in registers.
#pragma once
#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

#if defined(__AVX512F__)
#define EACH_LANE(F) \
  F(0), F(1), F(2), F(3), F(4), F(5), F(6), F(7), F(8), F(9), F(10), F(11), F(12), F(13), F(14), F(15)
#elif defined(__AVX2__)
#define EACH_LANE(F) F(0), F(1), F(2), F(3), F(4), F(5), F(6), F(7)
#else
#define EACH_LANE(F) F(0), F(1), F(2), F(3)
#endif

// Exchanges the off-diagonal halves of every block of 2H lanes between two rows that are H apart.
template <int H> static INLINE void exchange_lanes(vf& upper, vf& lower) {
#define FROM_UPPER(lane) ((lane) & H ? VL + (lane)-H : (lane))
#define FROM_LOWER(lane) ((lane) & H ? VL + (lane) : (lane) + H)
  const vf u = __builtin_shufflevector(upper, lower, EACH_LANE(FROM_UPPER));
  lower = __builtin_shufflevector(upper, lower, EACH_LANE(FROM_LOWER));
  upper = u;
#undef FROM_UPPER
#undef FROM_LOWER
}

template <int H> static INLINE void transpose_step(vf* row) {
#pragma GCC unroll 16
  for (int i = 0; i < VL; i++)
    if (!(i & H)) exchange_lanes<H>(row[i], row[i + H]);
}

static INLINE void transpose(vf* row) {
  if constexpr (VL >= 16) transpose_step<8>(row);
  if constexpr (VL >= 8) transpose_step<4>(row);
  transpose_step<2>(row);
  transpose_step<1>(row);
}

}  // namespace COOLNN_ISA
}  // namespace coolnn
