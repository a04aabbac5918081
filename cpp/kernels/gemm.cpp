// The matrix product of float32 blocks.
#include "kernels/gemm.h"

#include "kernels/gemm_panels.h"
#include "kernels/gemm_tile.h"
#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

struct Floats {
  using Vector = vf;
  static INLINE vf load(const float* words) { return COOLNN_ISA::load(words); }
  static INLINE vf broadcast(const float* word) { return COOLNN_ISA::broadcast(*word); }
  static INLINE vf multiply_add(vf a, vf b, vf sum) { return fma(a, b, sum); }
};

static void multiply(const GemmBlock& block) {
  if (block.order == PanelOrder::rows) multiply_panels<Floats, PanelOrder::rows>(block);
  else multiply_panels<Floats, PanelOrder::depth>(block);
}

static void sum_partials(const float* from, int64_t stride, int64_t count, float* to, int64_t n) {
  for (int64_t i = 0; i < n; i += VL) {
    const int lanes = int(n - i < VL ? n - i : VL);
    vf sum = load_up_to(from + i, lanes);
    for (int64_t p = 1; p < count; p++) sum = sum + load_up_to(from + p * stride + i, lanes);
    store_up_to(to + i, sum, lanes);
  }
}

extern const GemmTable gemm_table;
const GemmTable gemm_table = {TILE_ROWS, TILE_COLUMNS, NARROW_ROWS, multiply_narrow, multiply, pack_a, pack_b, sum_partials};

}  // namespace COOLNN_ISA
}  // namespace coolnn
