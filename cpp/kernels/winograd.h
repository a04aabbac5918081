// The parts of Winograd's convolution that are compiled once per instruction set: transforms of tiles and weights, and
// the products of transformed tiles with transformed weights.
//
// Names: a tile is the m x m patch of the output (and the n x n patch of the input under it, n = m + 2); a point is
// one of the n * n places of a transformed tile, at which the convolution is a matrix product over channels.
// Transformed tiles lie as [point][panel][channels / 16][rows of the panel][16]: a panel is as many tiles as one
// product takes.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace coolnn {

constexpr int WINOGRAD_BLOCK = 16;  // channels that lie side by side in transformed tiles

// One picture of a batch, stored rows, columns, channels.
struct WinogradPicture {
  const float* pixels;
  int64_t height, width, channels;
};

// Where results go, and what is done to them on the way: y = clamp(sum + bias + residual, low, high), then the maximum
// over 2 x 2 windows if `pool` (the written picture has half the height and width then).
struct WinogradTarget {
  float* pixels;  // of one picture
  int64_t height, width, channels;  // before pooling
  const float* bias;      // or null
  const float* residual;  // of the same picture, or null
  float low, high;
  bool pool;
  bool stream;  // written past the caches: pixels aligned, whole blocks of channels
};

// The transforms of one F(m x m, 3 x 3).
struct WinogradTransforms {
  int outputs;  // m
  int points;   // n

  // BT d B of the n x n patch at (top, left), zero outside of the picture, and A d AT of an m x m patch. Every 16
  // channels go to a block of `to`; what is missing in the last block is zero. `stream` writes past the caches.
  void (*input)(const WinogradPicture& picture, int64_t top, int64_t left, float* to, ptrdiff_t point_stride,
                ptrdiff_t block_stride, bool stream);
  void (*gradient)(const WinogradPicture& picture, int64_t top, int64_t left, float* to, ptrdiff_t point_stride,
                   ptrdiff_t block_stride, bool stream);
  // AT m A of one tile's channels [first, first + channels), finished, to the picture from (top, left) on, cut off at its
  // border.
  void (*output)(const float* from, ptrdiff_t point_stride, ptrdiff_t block_stride, const WinogradTarget& target,
                 int64_t first, int64_t channels, int64_t top, int64_t left);
  // G w GT, its rows [row, row + rows), of packed weights [channels][9][columns] to [point][channels][columns].
  void (*weights)(const float* packed, int64_t channels, int columns, int row, int rows, float* to,
                  ptrdiff_t point_stride);
  // GT u G of `channels` neighbouring sums to the nine taps of a weight gradient.
  void (*weight_gradient)(const float* from, ptrdiff_t point_stride, float* to, ptrdiff_t tap_stride,
                          int64_t channels);
};

struct WinogradTable {
  WinogradTransforms f4, f2;
  int columns;  // output channels in a panel of weights: 16 or 32; the last panel may have 16
  int rows;     // most tiles in a panel

  // One tap of weights O, 3, 3, I of the output channels [first, first + columns) to packed [channels][9][columns],
  // from the input channel `channel` on, `channels` of them (a multiple of 16); rotate: the roles of O and I change
  // and the taps are turned by 180 degrees.
  void (*pack)(const float* weights, int64_t outputs, int64_t inputs, bool rotate, int tap, int64_t first, int columns,
               int64_t channel, int64_t channels, float* packed, bool stream);
  // m[tile][column] = sum over channels of v[tile][channel] * u[channel][column], for the first `tiles` tiles of a
  // panel; block strides are the distances of blocks of 16 channels in v and m. `stream` writes m past the caches.
  void (*multiply)(int tiles, int columns, const float* v, ptrdiff_t v_block, const float* u, float* m,
                   ptrdiff_t m_block, int64_t blocks, bool stream);
  // sum[k][c] (+)= sum over tiles of d[tile][k] * v[tile][c]: 16 k, `channels` c (a multiple of 16) in blocks that
  // lie v_block apart. What will be needed later is fetched meanwhile, as many blocks of 16 floats as there are tiles.
  void (*accumulate)(const float* d, const float* v, ptrdiff_t v_block, int tiles, float* sum, ptrdiff_t sum_stride,
                     int64_t channels, bool add, const float* later_d, const float* later_v);
};

}  // namespace coolnn
