// Convolution with a picture in each lane: every multiply-add works on whole vectors, however few channels there are.
#include "kernels/conv_batch_lanes.h"

#include "kernels/transpose.h"
#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

constexpr int OUTPUTS = REGISTERS == 32 ? 6 : 3;  // output channels x 4 pixels (or weights) are summed in registers
constexpr int SIDE = 4;

static void to_lanes(const LaneLines& l, const float* pictures, float* lanes) {
  for (int64_t line = 0; line < l.lines; line++) {
    const float* from = pictures + line * l.line_stride;
    float* to = lanes + line * l.lane_line;
    for (int64_t i = 0; i < l.line_floats; i += VL, to += VL * VL) {
      const int n = int(l.line_floats - i < VL ? l.line_floats - i : VL);
      vf square[VL];
#pragma GCC unroll 16
      for (int p = 0; p < VL; p++) {
        const float* at = from + p * l.picture_stride + i;
        square[p] = p >= l.pictures ? zero() : n == VL ? load(at) : load_partial(at, n);
      }
      transpose(square);
#pragma GCC unroll 16
      for (int k = 0; k < VL; k++)
        if (k < n) store(to + k * VL, square[k]);
    }
  }
}

static void from_lanes(const LaneLines& l, const float* lanes, float* pictures) {
  for (int64_t line = 0; line < l.lines; line++) {
    float* to = pictures + line * l.line_stride;
    const float* from = lanes + line * l.lane_line;
    for (int64_t i = 0; i < l.line_floats; i += VL, from += VL * VL) {
      const int n = int(l.line_floats - i < VL ? l.line_floats - i : VL);
      vf square[VL];
#pragma GCC unroll 16
      for (int k = 0; k < VL; k++) square[k] = k < n ? load(from + k * VL) : zero();
      transpose(square);
#pragma GCC unroll 16
      for (int p = 0; p < VL; p++) {
        float* at = to + p * l.picture_stride + i;
        if (p >= l.pictures) continue;
        if (n == VL) store(at, square[p]);
        else store_partial(at, square[p], n);
      }
    }
  }
}

template <int HEIGHT, int PIXELS>
static void multiply_block(const LaneProduct& product, const float* weights, int64_t pixel, int64_t output) {
  vf sum[HEIGHT][PIXELS];
#pragma GCC unroll 6
  for (int o = 0; o < HEIGHT; o++) {
    const vf start = product.bias != nullptr ? broadcast(product.bias[output + o]) : zero();
#pragma GCC unroll 4
    for (int p = 0; p < PIXELS; p++) sum[o][p] = start;
  }
  const float* x[PIXELS];
#pragma GCC unroll 4
  for (int p = 0; p < PIXELS; p++) x[p] = product.x + product.x_offsets[pixel + p];
  weights += product.depth_begin * HEIGHT;
  for (int64_t k = product.depth_begin; k < product.depth_end; k++) {
    const int64_t offset = product.depth_offsets[k];
    vf value[PIXELS];
#pragma GCC unroll 4
    for (int p = 0; p < PIXELS; p++) value[p] = load(x[p] + offset);
#pragma GCC unroll 6
    for (int o = 0; o < HEIGHT; o++) {
      const vf weight = broadcast(weights[o]);
#pragma GCC unroll 4
      for (int p = 0; p < PIXELS; p++) sum[o][p] = fma(weight, value[p], sum[o][p]);
    }
    weights += HEIGHT;
  }
#pragma GCC unroll 4
  for (int p = 0; p < PIXELS; p++) {
    float* y = product.y + product.y_offsets[pixel + p] + output * VL;
#pragma GCC unroll 6
    for (int o = 0; o < HEIGHT; o++) store(y + o * VL, sum[o][p]);
  }
}

template <int PIXELS> static void multiply_pixels(const LaneProduct& product, int64_t pixel) {
  const float* weights = product.weights;
  for (int64_t output = 0; output < product.outputs; output += product.height) {
    const int64_t height = product.outputs - output < product.height ? product.outputs - output : product.height;
    switch (height) {
      case 1: multiply_block<1, PIXELS>(product, weights, pixel, output); break;
      case 2: multiply_block<2, PIXELS>(product, weights, pixel, output); break;
      case 3: multiply_block<3, PIXELS>(product, weights, pixel, output); break;
      // Higher blocks exist only with 32 registers.
      case 4: multiply_block<4 <= OUTPUTS ? 4 : 1, PIXELS>(product, weights, pixel, output); break;
      case 5: multiply_block<5 <= OUTPUTS ? 5 : 1, PIXELS>(product, weights, pixel, output); break;
      case 6: multiply_block<6 <= OUTPUTS ? 6 : 1, PIXELS>(product, weights, pixel, output); break;
    }
    weights += height * product.depth;
  }
}

static void multiply_lanes(const LaneProduct& product) {
  int64_t pixel = 0;
  for (; pixel + SIDE <= product.pixels; pixel += SIDE) multiply_pixels<SIDE>(product, pixel);
  if (pixel == product.pixels) return;
  if (product.pixels >= SIDE) return multiply_pixels<SIDE>(product, product.pixels - SIDE);  // some pixels twice
  for (; pixel < product.pixels; pixel++) multiply_pixels<1>(product, pixel);
}

template <int HEIGHT, int WIDTH>
static void add_block(const LaneWeights& w, int64_t output, int64_t k) {
  vf sum[HEIGHT][WIDTH];
  float* sums = w.sums + (output * w.depth + k) * VL;
#pragma GCC unroll 6
  for (int o = 0; o < HEIGHT; o++)
#pragma GCC unroll 4
    for (int i = 0; i < WIDTH; i++) sum[o][i] = load(sums + (o * w.depth + i) * VL);
  const float* x[WIDTH];
#pragma GCC unroll 4
  for (int i = 0; i < WIDTH; i++) x[i] = w.x + w.depth_offsets[k + i];
  const float* grad = w.grad + output * VL;
  for (int64_t p = 0; p < w.pixels; p++) {
    const int64_t offset = w.x_offsets[p];
    vf value[WIDTH];
#pragma GCC unroll 4
    for (int i = 0; i < WIDTH; i++) value[i] = load(x[i] + offset);
#pragma GCC unroll 6
    for (int o = 0; o < HEIGHT; o++) {
      const vf gradient = load(grad + o * VL);
#pragma GCC unroll 4
      for (int i = 0; i < WIDTH; i++) sum[o][i] = fma(gradient, value[i], sum[o][i]);
    }
    grad += w.outputs * VL;
  }
#pragma GCC unroll 6
  for (int o = 0; o < HEIGHT; o++)
#pragma GCC unroll 4
    for (int i = 0; i < WIDTH; i++) store(sums + (o * w.depth + i) * VL, sum[o][i]);
}

template <int HEIGHT> static void add_outputs(const LaneWeights& w, int64_t output) {
  int64_t k = 0;
  for (; k + SIDE <= w.depth; k += SIDE) add_block<HEIGHT, SIDE>(w, output, k);
  switch (w.depth - k) {
    case 1: add_block<HEIGHT, 1>(w, output, k); break;
    case 2: add_block<HEIGHT, 2>(w, output, k); break;
    case 3: add_block<HEIGHT, 3>(w, output, k); break;
  }
}

static void add_weights(const LaneWeights& w) {
  int64_t output = 0;
  for (; output + OUTPUTS <= w.outputs; output += OUTPUTS) add_outputs<OUTPUTS>(w, output);
  switch (w.outputs - output) {
    case 1: add_outputs<1>(w, output); break;
    case 2: add_outputs<2>(w, output); break;
    case 3: add_outputs<3>(w, output); break;
    case 4: add_outputs<4 <= OUTPUTS ? 4 : 1>(w, output); break;
    case 5: add_outputs<5 <= OUTPUTS ? 5 : 1>(w, output); break;
  }
}

static void sum_all_lanes(const float* lanes, int64_t n, float* to) {
  for (int64_t first = 0; first < n; first += VL) {
    const int count = int(n - first < VL ? n - first : VL);
    vf square[VL];
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++) square[i] = i < count ? load(lanes + (first + i) * VL) : zero();
    transpose(square);
#pragma GCC unroll 4
    for (int half = VL / 2; half > 0; half /= 2)
#pragma GCC unroll 8
      for (int i = 0; i < half; i++) square[i] = square[i] + square[i + half];
    if (count == VL) store(to + first, square[0]);
    else store_partial(to + first, square[0], count);
  }
}

extern const BatchLanesTable batch_lanes_table;
const BatchLanesTable batch_lanes_table = {OUTPUTS, to_lanes, from_lanes, multiply_lanes, add_weights, sum_all_lanes};

}  // namespace COOLNN_ISA
}  // namespace coolnn
