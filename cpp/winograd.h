// What the passes of Winograd's convolution share: how an output is cut into tiles, panels and chunks.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>

#include "conv.h"
#include "isa.h"
#include "parallel.h"
#include "rounding.h"

namespace coolnn {

// Distances between points and accumulators are kept off multiples of 4 KiB, where they would share a few cache sets.
constexpr int64_t STAGGER = 16;

// A correlation of a batch of pictures with 3 x 3 weights, stride 1: the forward pass or, with the weights' roles
// exchanged and their taps rotated, the input gradient.
struct Correlation {
  int64_t n, c, h, w;  // input
  int64_t k, oh, ow;   // output
  int64_t top, left;   // padding
  bool rotated;
  bool constant_weights = false;
  Finish finish = {};
  bool pool = false;

  static Correlation of(const ConvShape& s, ConvPass pass) {
    if (pass == ConvPass::input_grad)
      return {s.n, s.oc, s.oh, s.ow, s.ic, s.ih, s.iw, 2 - s.pt, 2 - s.pl, true, s.constant_weights};
    return {s.n, s.ic, s.ih, s.iw, s.oc, s.oh, s.ow, s.pt, s.pl, false, s.constant_weights, s.finish, s.pool > 1};
  }
  WinogradPicture picture(const float* x, int64_t image) const { return {x + image * h * w * c, h, w, c}; }
  WinogradPicture output_picture(const float* y, int64_t image) const { return {y + image * oh * ow * k, oh, ow, k}; }
  // One picture of the result, before pooling and in memory.
  int64_t output_floats() const { return oh * ow * k; }
  int64_t written_floats() const { return pool ? (oh / 2) * (ow / 2) * k : output_floats(); }
};

// The output's tiles, counted through the whole batch, row by row.
struct TileGrid {
  int64_t size, rows, columns, tiles;

  TileGrid(const Correlation& s, int outputs)
      : size(outputs), rows(ceil_div(s.oh, outputs)), columns(ceil_div(s.ow, outputs)), tiles(s.n * rows * columns) {}

  // Calls f(tile, image, y, x) for the tiles [begin, end); (y, x) is the tile's corner in the output.
  template <class F> void each(int64_t begin, int64_t end, F&& f) const {
    int64_t image = begin / (rows * columns), row = begin / columns % rows, column = begin % columns;
    for (int64_t tile = begin; tile < end; tile++) {
      f(tile, image, row * size, column * size);
      if (++column == columns) {
        column = 0;
        if (++row == rows) row = 0, image++;
      }
    }
  }
};

// Transformed tiles of one chunk, [point][panel][channel block][row][16], as strides in floats.
struct TileLayout {
  int64_t rows, blocks;        // tiles a panel, channel blocks
  int64_t panel, point, size;  // distances, and the floats of a whole chunk

  TileLayout(int64_t panels, int64_t rows_, int64_t channels, int points)
      : rows(rows_),
        blocks(ceil_div(channels, WINOGRAD_BLOCK)),
        panel(blocks * rows * WINOGRAD_BLOCK + STAGGER),
        point(panels * panel + STAGGER),
        size(point * points * points) {}
  int64_t block() const { return rows * WINOGRAD_BLOCK; }
  int64_t tile(int64_t index) const { return index / rows * panel + index % rows * WINOGRAD_BLOCK; }
};

// Fetches what the next chunk will read into the second-level cache, a little at a time while products keep the
// arithmetic units busy. What does not fit its list of pieces is left to be fetched when it is needed.
class Prefetcher {
 public:
  // The patches of size x size pixels under the tiles [begin, end); their corners lie (top, left) outside of the
  // tiles' corners.
  void add(const TileGrid& grid, const float* x, int64_t height, int64_t width, int64_t channels, int64_t begin,
           int64_t end, int64_t size, int64_t top, int64_t left) {
    while (begin < end) {
      const int64_t image = begin / (grid.rows * grid.columns), row = begin / grid.columns % grid.rows;
      const int64_t column = begin % grid.columns, count = std::min(end - begin, grid.columns - column);
      const int64_t x0 = std::max<int64_t>(0, column * grid.size - left);
      const int64_t x1 = std::min(width, (column + count - 1) * grid.size - left + size);
      const int64_t y0 = std::max<int64_t>(0, row * grid.size - top);
      const int64_t y1 = std::min(height, row * grid.size - top + size);
      for (int64_t y = y0; y < y1 && x0 < x1 && pieces_ < PIECES; y++) {
        const float* line = x + ((image * height + y) * width) * channels;
        piece_[pieces_++] = {line + x0 * channels, line + x1 * channels};
        lines_ += (x1 - x0) * channels / FLOATS + 1;
      }
      begin += count;
    }
  }
  // To be called once after everything was added, then step() so many times.
  void spread_over(int64_t steps) { lines_a_step_ = lines_ / steps + 1; }
  void step() {
    for (int64_t n = 0; n < lines_a_step_ && current_ < pieces_; n++) {
      Piece& piece = piece_[current_];
      __builtin_prefetch(piece.begin, 0, 2);
      piece.begin += FLOATS;
      if (piece.begin >= piece.end) current_++;
    }
  }

 private:
  static constexpr int PIECES = 96, FLOATS = 16;  // a cache line
  struct Piece {
    const float *begin, *end;
  };
  Piece piece_[PIECES];
  int pieces_ = 0, current_ = 0;
  int64_t lines_ = 0, lines_a_step_ = 0;
};

// Calls f(chunk, following, slot) for every chunk; `slot` < slots names scratch memory that no other call uses
// meanwhile, and `following` is the chunk that this caller will work on next, or -1. At most `slots` threads take part.
template <class F> void for_chunks(int64_t slots, int64_t chunks, F&& f) {
  std::atomic<int64_t> next{0};
  parallel_for(std::min(slots, chunks), [&](int64_t slot, int) {
    int64_t chunk = next.fetch_add(1, std::memory_order_relaxed);
    while (chunk < chunks) {
      const int64_t following = next.fetch_add(1, std::memory_order_relaxed);
      f(chunk, following < chunks ? following : -1, slot);
      chunk = following;
    }
  });
}

KernelPtr make_winograd_correlation(const ConvShape& shape, ConvPass pass, const WinogradTransforms& transforms);
KernelPtr make_winograd_weight_grad(const ConvShape& shape, const WinogradTransforms& transforms);

}  // namespace coolnn
