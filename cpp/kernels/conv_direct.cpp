// Direct convolution of pictures with few channels: a tile of output pixels by two vectors of output channels.
#include "kernels/conv_direct.h"

#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

constexpr int VECTORS = 2;
constexpr int PIXELS = REGISTERS >= 32 ? 14 : 6;  // sums, two weights and one number of the picture fill the registers

// `pixels` results of VECTORS_HERE vectors, from (first pixel, block) on. PIXEL is line.pixel where it is known.
template <int COUNT, int VECTORS_HERE, int PIXEL>
static void tile(const DirectLine& line, int64_t first, int64_t block) {
  const int64_t pixel = PIXEL ? PIXEL : line.pixel, output = block * VECTORS * VL;
  const float* weights = line.weights + block * VECTORS * VL * line.run_count * line.run_length;
  vf sum[COUNT][VECTORS_HERE];
#pragma GCC unroll 2
  for (int v = 0; v < VECTORS_HERE; v++) {
    const int64_t left = line.outputs - output - v * VL;
    const vf start = line.bias == nullptr ? zero()
                     : left >= VL         ? load(line.bias + output + v * VL)
                                          : load_partial(line.bias + output + v * VL, int(left));
#pragma GCC unroll 16
    for (int p = 0; p < COUNT; p++) sum[p][v] = start;
  }
  const float* const corner = line.x + first * pixel;
  for (int64_t r = 0; r < line.run_count; r++) {
    const float* x = corner + line.runs[r];
    for (int64_t k = 0; k < line.run_length; k++) {
      vf weight[VECTORS_HERE];
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS_HERE; v++) weight[v] = load(weights + v * VL);
#pragma GCC unroll 16
      for (int p = 0; p < COUNT; p++) {
        const vf value = broadcast(x[p * pixel]);
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS_HERE; v++) sum[p][v] = fma(value, weight[v], sum[p][v]);
      }
      weights += VECTORS * VL;
      x++;
    }
  }
  const vf low = broadcast(line.low), high = broadcast(line.high);
#pragma GCC unroll 16
  for (int p = 0; p < COUNT; p++)
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS_HERE; v++) {
      const int64_t at = (first + p) * line.outputs + output + v * VL, left = line.outputs - output - v * VL;
      vf y = sum[p][v];
      if (line.residual != nullptr)
        y += left >= VL ? load(line.residual + at) : load_partial(line.residual + at, int(left));
      y = min(high, max(low, y));
      if (line.stream) stream(line.y + at, y);
      else if (left >= VL) store(line.y + at, y);
      else store_partial(line.y + at, y, int(left));
    }
}

using Tile = void (*)(const DirectLine&, int64_t, int64_t);

template <int VECTORS_HERE, int COUNT> static INLINE Tile tile_of(int64_t pixels) {
  if constexpr (COUNT == 1) return tile<1, VECTORS_HERE, 0>;
  else return pixels == COUNT ? tile<COUNT, VECTORS_HERE, 0> : tile_of<VECTORS_HERE, COUNT - 1>(pixels);
}

// Whole tiles with the steps of usual first layers (channels times stride) need no address arithmetic.
template <int VECTORS_HERE> static INLINE Tile whole_tile(int64_t pixel) {
  switch (pixel) {
    case 1: return tile<PIXELS, VECTORS_HERE, 1>;
    case 3: return tile<PIXELS, VECTORS_HERE, 3>;
    case 6: return tile<PIXELS, VECTORS_HERE, 6>;
    case 12: return tile<PIXELS, VECTORS_HERE, 12>;
    default: return tile<PIXELS, VECTORS_HERE, 0>;
  }
}

template <int VECTORS_HERE> static void tiles(const DirectLine& line, int64_t block) {
  const Tile whole = whole_tile<VECTORS_HERE>(line.pixel);
  // As even as can be, so that no small tile is left over.
  const int64_t count = (line.pixels + PIXELS - 1) / PIXELS;
  int64_t first = 0;
  for (int64_t i = 0; i < count; i++) {
    const int64_t next = line.pixels * (i + 1) / count;
    if (next - first == PIXELS) whole(line, first, block);
    else tile_of<VECTORS_HERE, PIXELS - 1>(next - first)(line, first, block);
    first = next;
  }
}

static void direct_line(const DirectLine& line) {
  int64_t block = 0;
  for (int64_t left = line.outputs; left > 0; left -= VECTORS * VL, block++)
    if (left > VL) tiles<VECTORS>(line, block);
    else tiles<1>(line, block);
  if (line.stream) stream_fence();
}

extern const DirectTable direct_table;
const DirectTable direct_table = {VECTORS * VL, direct_line};

}  // namespace COOLNN_ISA
}  // namespace coolnn
