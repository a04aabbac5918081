// The products of Winograd's convolution and the packing of weights for them; see WinogradTable for what each does.
#pragma once
#include "kernels/winograd.h"
#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

// A product's tile of accumulators: as many rows as leave four registers for the weights and a broadcast.
constexpr int PANEL_COLUMNS = VL == 16 ? 32 : 16;
constexpr int PANEL_VECTORS = PANEL_COLUMNS / VL;
constexpr int PANEL_ROWS = (REGISTERS - 4) / PANEL_VECTORS;

// Stores past the caches where vectors are whole cache lines: shorter ones would be written line by line in pieces.
static INLINE void put(float* to, vf x, bool past_caches) {
  if (VL == WINOGRAD_BLOCK && past_caches) stream(to, x);
  else store(to, x);
}

void pack_weights(const float* weights, int64_t outputs, int64_t inputs, bool rotate, int tap, int64_t first,
                  int columns, int64_t channel, int64_t channels, float* packed, bool stream);
void multiply(int tiles, int columns, const float* v, ptrdiff_t v_block, const float* u, float* m, ptrdiff_t m_block,
              int64_t blocks, bool stream);
void accumulate(const float* d, const float* v, ptrdiff_t v_block, int tiles, float* sum, ptrdiff_t sum_stride,
                int64_t channels, bool add, const float* later_d, const float* later_v);

}  // namespace COOLNN_ISA
}  // namespace coolnn
