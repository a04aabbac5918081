// A convolution and max-pooling over windows of 2 x 2 pixels, with a picture in each lane, and their gradients: of a
// window's four pixels only one has a gradient, another one in each lane.
#pragma once
#include <stdint.h>

namespace coolnn {

// The largest of clamp(bias + sum over k of weight * x[pixel + k]) in each window, and which pixel that is.
struct PooledProduct {
  const float* x;
  int64_t line, pixel;           // floats from line to line, from pixel to pixel
  const int64_t* depth_offsets;  // of each k, in floats
  int64_t depth;
  const float* weights;  // [block of outputs][k][output of the block], blocks of `height`
  int64_t outputs, height;
  const float* bias;  // or null
  float low, high;
  int64_t first_row, rows, columns;  // windows
  int64_t width;                     // of the picture that is pooled
  float* y;                          // [window][output]
  int32_t* pixels;                   // likewise; or null
};

// Windows in lanes, [row][column][channel]. `places` comes as the number of the pixel that was the largest, and becomes
// its place in the window: 2 * (lower line) + (right column). The gradient becomes zero where y is not above zero.
struct PooledGradient {
  float* grad;
  const float* y;  // or null: no mask
  int32_t* places;
  int64_t first_row, rows, columns, channels;
  int64_t width;  // of the picture that was pooled
};

// sums[output][ky][kx] += sum over windows of grad * x[its pixel + (ky, kx)], for one channel of x.
struct PooledWeights {
  const float* x;
  int64_t line, pixel;  // floats from line to line, from pixel to pixel
  const float* grad;
  const int32_t* places;
  int64_t rows, columns, channels;
  int64_t kh, kw;
  float* sums;
  int64_t output;  // floats from output to output in the sums
};

// Filters for the gradient of the input, in blocks of 2 x 2 pixels: by how many blocks a window lies before the block, by
// output channel, pixel of the block and input channel, four numbers: for each place the weight that it sends here.
struct PooledFilters {
  const float* weight;  // [output][kh][kw][input]
  int64_t outputs, kh, kw, inputs;
  int64_t channels;  // input channels of a block
  float* filters;    // [block of channels][block_rows][block_columns][output][2][2][channels][4]
  int64_t blocks() const { return (inputs + channels - 1) / channels; }
  // The last block of channels is as large as the others and begins earlier.
  int64_t first_channel(int64_t block) const {
    return block * channels < inputs - channels ? block * channels : inputs - channels;
  }
  int64_t block_rows() const { return kh / 2 + 1; }
  int64_t block_columns() const { return kw / 2 + 1; }
};

// One block of pixels of the input's gradient, for `channels` channels: the sum over windows [row - before, row - after].
struct PooledInput {
  const float* grad;  // of the window that begins where the block does
  const int32_t* places;
  int64_t rows_from, rows_to, columns_from, columns_to;  // windows: how many before that one
  int64_t row, column;                                   // floats from window to window
  int64_t outputs;
  const float* filters;  // of the channels
  int64_t filter_row, filter_column;
  int64_t channels;
  float* dx;
  int64_t line, pixel;
};

struct PooledLanesTable {
  int most_outputs;  // of a block of a PooledProduct
  void (*multiply)(const PooledProduct& product);
  int most_channels;  // of a PooledInput
  void (*prepare)(const PooledGradient& gradient);
  void (*sum_bias)(const float* grad, int64_t windows, int64_t channels, float* sums);  // sums[channel] += in lanes
  void (*add_weights)(const PooledWeights& weights);
  void (*pack_filters)(const PooledFilters& filters, int64_t block_row);  // those that are so far before
  void (*add_input)(const PooledInput& input);
};

}  // namespace coolnn
