// Convolution straight from the picture: output channels in the lanes, neighbouring pixels in registers, nothing gathered.
#include "kernels/conv_direct.h"

#include "kernels/gemm_tile.h"
#include "kernels/transpose.h"
#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

template <int PIXELS, int VECTORS>
static INLINE void finish_pixels(const DirectLine& line, vf (&sum)[PIXELS][VECTORS], float* y, int last_channels) {
  const GemmEpilogue& e = line.epilogue;
  const float* residual = e.residual != nullptr ? e.residual + (y - line.y) : nullptr;
  const vf low = broadcast(e.low), high = broadcast(e.high);
#pragma GCC unroll 2
  for (int v = 0; v < VECTORS; v++) {
    const int n = v == VECTORS - 1 ? last_channels : VL;
    const vf bias = e.bias != nullptr ? load_up_to(e.bias + v * VL, n) : zero();
#pragma GCC unroll 16
    for (int p = 0; p < PIXELS; p++) {
      vf result = sum[p][v] + bias;
      if (residual != nullptr) result = result + load_up_to(residual + p * line.y_pixel + v * VL, n);
      result = clamp(result, low, high);
      if (line.stream) stream(y + p * line.y_pixel + v * VL, result);
      else store_up_to(y + p * line.y_pixel + v * VL, result, n);
    }
  }
}

// Four pixels share a pointer: so that the addresses of all need few registers.
template <int PIXELS, int VECTORS> static void multiply_pixels(const DirectLine& line, const float* x, float* y) {
  constexpr int POINTERS = (PIXELS + 3) / 4;
  vf sum[PIXELS][VECTORS];
#pragma GCC unroll 16
  for (int p = 0; p < PIXELS; p++) {
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; v++) sum[p][v] = zero();
  }
  const int64_t pixel = line.x_pixel * int64_t(sizeof(float));
  const float* w = line.weights;
  for (int64_t r = 0; r < line.run_count; r++) {
    const char* at[POINTERS];
#pragma GCC unroll 4
    for (int q = 0; q < POINTERS; q++) at[q] = (const char*)(x + line.runs[r].offset + 4 * q * line.x_pixel);
    for (int64_t k = line.runs[r].length; k > 0; k--) {
      vf column[VECTORS];
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; v++) column[v] = load(w + v * VL);
#pragma GCC unroll 16
      for (int p = 0; p < PIXELS; p++) {
        const vf value = broadcast(*(const float*)(at[p / 4] + p % 4 * pixel));
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; v++) sum[p][v] = fma(value, column[v], sum[p][v]);
      }
#pragma GCC unroll 4
      for (int q = 0; q < POINTERS; q++) at[q] += sizeof(float);
      w += TILE_COLUMNS;
    }
  }
  finish_pixels<PIXELS, VECTORS>(line, sum, y, int(line.channels - (VECTORS - 1) * VL));
}

// Lane j becomes lane `from` of its group of WIDTH lanes.
template <int WIDTH> static INLINE vf spread(vf x, int from) {
#define OF_GROUP(lane) (lane) / WIDTH* WIDTH + FROM
#define SPREAD(number)                                                  \
  if (from == number) {                                                 \
    constexpr int FROM = number < WIDTH ? number : 0;                   \
    return __builtin_shufflevector(x, x, EACH_LANE(OF_GROUP));          \
  }
  SPREAD(0) SPREAD(1) SPREAD(2) SPREAD(3) SPREAD(4) SPREAD(5) SPREAD(6) SPREAD(7)
#undef SPREAD
#undef OF_GROUP
  return x;
}

template <int PIXELS, int WIDTH> static void multiply_groups(const DirectLine& line, const float* x, float* y) {
  vf sum[PIXELS][1];
#pragma GCC unroll 16
  for (int p = 0; p < PIXELS; p++) sum[p][0] = zero();
  const float* w = line.weights;
  for (int64_t r = 0; r < line.run_count; r++) {
    const float* at = x + line.runs[r].offset;
    vf value[PIXELS];
#pragma GCC unroll 16
    for (int p = 0; p < PIXELS; p++) value[p] = load(at + p * line.x_pixel);
#pragma GCC unroll 8
    for (int i = 0; i < WIDTH; i++, w += TILE_COLUMNS) {
      const vf weight = load(w);
#pragma GCC unroll 16
      for (int p = 0; p < PIXELS; p++) sum[p][0] = fma(spread<WIDTH>(value[p], i), weight, sum[p][0]);
    }
  }
  finish_pixels<PIXELS, 1>(line, sum, y, int(line.channels));
}

using PixelsFunction = void (*)(const DirectLine&, const float*, float*);

// The line in nearly equal parts of at most MOST pixels.
template <int MOST> static INLINE void each_part(const DirectLine& line, const PixelsFunction* functions) {
  const int64_t parts = (line.pixels + MOST - 1) / MOST;
  for (int64_t part = 0, pixel = 0; part < parts; part++) {
    const int64_t count = (line.pixels - pixel) / (parts - part);
    functions[count - 1](line, line.x + pixel * line.x_pixel, line.y + pixel * line.y_pixel);
    pixel += count;
  }
  if (line.stream) stream_fence();
}

// Enough sums to hide the latency of a multiply-add, as far as the registers go.
constexpr int MOST_PIXELS = TILE_ROWS, MOST_OF_ONE = REGISTERS == 32 ? 14 : 12, MOST_GROUPED = REGISTERS == 32 ? 12 : 6;

#define UP_TO(MOST, FUNCTION, ARGUMENT)                                                                                 \
  {FUNCTION<1, ARGUMENT>,                     FUNCTION<2 <= MOST ? 2 : 1, ARGUMENT>,   FUNCTION<3 <= MOST ? 3 : 1, ARGUMENT>,   \
   FUNCTION<4 <= MOST ? 4 : 1, ARGUMENT>,   FUNCTION<5 <= MOST ? 5 : 1, ARGUMENT>,   FUNCTION<6 <= MOST ? 6 : 1, ARGUMENT>,   \
   FUNCTION<7 <= MOST ? 7 : 1, ARGUMENT>,   FUNCTION<8 <= MOST ? 8 : 1, ARGUMENT>,   FUNCTION<9 <= MOST ? 9 : 1, ARGUMENT>,   \
   FUNCTION<10 <= MOST ? 10 : 1, ARGUMENT>, FUNCTION<11 <= MOST ? 11 : 1, ARGUMENT>, FUNCTION<12 <= MOST ? 12 : 1, ARGUMENT>, \
   FUNCTION<13 <= MOST ? 13 : 1, ARGUMENT>, FUNCTION<14 <= MOST ? 14 : 1, ARGUMENT>}

static void direct_line(const DirectLine& line) {
  static const PixelsFunction one[] = UP_TO(MOST_OF_ONE, multiply_pixels, 1);
  static const PixelsFunction two[] = UP_TO(MOST_PIXELS, multiply_pixels, 2);
  if (line.channels > VL) each_part<MOST_PIXELS>(line, two);
  else each_part<MOST_OF_ONE>(line, one);
}

template <int WIDTH> static void grouped_line(const DirectLine& line) {
  static const PixelsFunction functions[] = UP_TO(MOST_GROUPED, multiply_groups, WIDTH);
  each_part<MOST_GROUPED>(line, functions);
}

extern const DirectTable direct_table;
const DirectTable direct_table = {
    direct_line, {nullptr, grouped_line<2>, VL >= 4 ? grouped_line<4> : nullptr, VL >= 8 ? grouped_line<VL >= 8 ? 8 : 4> : nullptr}};

}  // namespace COOLNN_ISA
}  // namespace coolnn
