// Winograd's weight gradient: dw = GT [sum over tiles of (BT x B) . (A dy AT)] G, the sum as one product a point.
//
// Chunk after chunk of tiles is transformed by all threads; then the sums, cut into blocks of
// channels, are shared out: each block adds up the whole chunk, so its order does not depend on the number of threads.
// With many channels and one chunk, a thread keeps a block's sums at all points in its cache and finishes them there.
#include "winograd.h"

namespace coolnn {
namespace {

// Bytes of transformed tiles: all of them where they stay in the last-level cache, and then better in the second-level
// ones; more go to memory past the caches.
constexpr int64_t IN_CACHES = 12 << 20, CACHED_CHUNK = 2 << 20, STREAMED_CHUNK = 24 << 20;
constexpr int64_t BLOCK = 64;        // channels of x and of dy in a block of sums: those of all points fit a cache
constexpr int64_t MOST_RUN = 64;     // tiles added up at a time: 64 channels of them fit the first-level cache
constexpr int64_t ENOUGH_TASKS = 16;  // blocks that keep all threads busy
constexpr int64_t TRANSFORM_GRAIN = 8;  // tiles

class WinogradWeightGrad final : public Kernel {
 public:
  WinogradWeightGrad(const Correlation& shape, const WinogradTransforms& transforms)
      : s_(shape),
        f_(transforms),
        table_(isa().winograd),
        grid_(shape, transforms.outputs),
        points_(transforms.points * transforms.points),
        c_(round_up(shape.c, WINOGRAD_BLOCK)),
        k_(round_up(shape.k, WINOGRAD_BLOCK)),
        slots_(num_threads()),
        c_blocks_(ceil_div(c_, BLOCK)),
        blocks_(c_blocks_ * ceil_div(k_, BLOCK)) {
    algorithm = "winograd_" + std::to_string(f_.outputs) + "x" + std::to_string(f_.outputs);
    // All tiles at once where the sums of all blocks, which then need not stand in memory, would take as much more.
    const int64_t tile_bytes = 4 * points_ * (c_ + k_), sums_bytes = 4 * blocks_ * points_ * POINT;
    at_once_ = blocks_ >= ENOUGH_TASKS && grid_.tiles * tile_bytes <= STREAMED_CHUNK + sums_bytes;
    stream_ = grid_.tiles * tile_bytes > IN_CACHES;
    const int64_t chunk = (stream_ ? STREAMED_CHUNK : CACHED_CHUNK) / tile_bytes;
    const int64_t most = at_once_ ? grid_.tiles : std::max(MOST_RUN, chunk);
    chunk_tiles_ = ceil_div(grid_.tiles, ceil_div(grid_.tiles, most));
    workspace_bytes =
        size_t(4 * (layout(c_).size + layout(k_).size + (at_once_ ? slots_ : blocks_) * points_ * POINT));
  }

  void run(const Arguments& a) const override {
    const TileLayout v_layout = layout(c_), d_layout = layout(k_);
    float* const v = static_cast<float*>(a.workspace);
    float* const d = v + v_layout.size;
    float* const sums = d + d_layout.size;
    for (int64_t begin = 0; begin < grid_.tiles; begin += chunk_tiles_) {
      const int64_t tiles = std::min(chunk_tiles_, grid_.tiles - begin);
      parallel_range(tiles, TRANSFORM_GRAIN, [&](int64_t from, int64_t to) {
        transform(a, begin + from, begin + to, begin, v, v_layout, d, d_layout);
      });
      if (at_once_) {
        for_chunks(slots_, blocks_, [&](int64_t block, int64_t, int64_t slot) {
          float* const to = sums + slot * points_ * POINT;
          for (int64_t point = 0; point < points_; point++)
            add_products(v, v_layout, d, d_layout, tiles, block, point, to + point * POINT, false);
          finish(to, block, a.out(0));
        });
      } else {
        parallel_for(blocks_ * points_, [&](int64_t task, int) {
          add_products(v, v_layout, d, d_layout, tiles, task / points_, task % points_, sums + task * POINT, begin > 0);
        });
      }
    }
    if (!at_once_)
      parallel_for(blocks_, [&](int64_t block, int) { finish(sums + block * points_ * POINT, block, a.out(0)); });
  }

 private:
  static constexpr int64_t POINT = BLOCK * BLOCK + STAGGER;  // floats of a block's sums at one point

  // All tiles of a chunk lie in one panel: the products run along tiles.
  TileLayout layout(int64_t channels) const { return {1, chunk_tiles_, channels, f_.points}; }
  int64_t first_c(int64_t block) const { return block % c_blocks_ * BLOCK; }
  int64_t first_k(int64_t block) const { return block / c_blocks_ * BLOCK; }

  void transform(const Arguments& a, int64_t begin, int64_t end, int64_t origin, float* v, const TileLayout& v_layout,
                 float* d, const TileLayout& d_layout) const {
    grid_.each(begin, end, [&](int64_t tile, int64_t image, int64_t row, int64_t column) {
      f_.input(s_.picture(a.in(0), image), row - s_.top, column - s_.left, v + v_layout.tile(tile - origin),
               v_layout.point, v_layout.block(), stream_);
      f_.gradient(s_.output_picture(a.in(1), image), row, column, d + d_layout.tile(tile - origin), d_layout.point,
                  d_layout.block(), stream_);
    });
  }

  // The products of one block of channels at one point.
  void add_products(const float* v, const TileLayout& v_layout, const float* d, const TileLayout& d_layout,
                    int64_t tiles, int64_t block, int64_t point, float* sums, bool add) const {
    const int64_t c = first_c(block), c_count = std::min(BLOCK, c_ - c);
    const int64_t k = first_k(block), k_blocks = std::min(BLOCK, k_ - k) / WINOGRAD_BLOCK;
    v += point * v_layout.point + c / WINOGRAD_BLOCK * v_layout.block();
    d += point * d_layout.point + k / WINOGRAD_BLOCK * d_layout.block();
    const int64_t run = ceil_div(tiles, ceil_div(tiles, MOST_RUN));  // as even as can be, so that no short one is left
    for (int64_t begin = 0; begin < tiles; begin += run) {
      const int64_t here = begin * WINOGRAD_BLOCK;
      // What comes next are the following tiles, or the first of the following point.
      const bool more = begin + run < tiles;
      const int64_t next_v = more ? here + run * WINOGRAD_BLOCK : v_layout.point;
      const int64_t next_d = more ? here + run * WINOGRAD_BLOCK : d_layout.point;
      for (int64_t i = 0; i < k_blocks; i++)
        table_.accumulate(d + i * d_layout.block() + here, v + here, v_layout.block(),
                          int(std::min(run, tiles - begin)), sums + i * WINOGRAD_BLOCK * c_count, c_count, c_count,
                          add || begin > 0, d + i * d_layout.block() + next_d, v + i * v_layout.block() + next_v);
    }
  }

  void finish(const float* sums, int64_t block, float* dw) const {
    const int64_t c = first_c(block), k = first_k(block), stride = std::min(BLOCK, c_ - c);
    for (int64_t i = 0; i < std::min(BLOCK, s_.k - k); i++)
      f_.weight_gradient(sums + i * stride, POINT, dw + (k + i) * 9 * s_.c + c, s_.c, std::min(BLOCK, s_.c - c));
  }

  const Correlation s_;
  const WinogradTransforms f_;
  const WinogradTable& table_;
  const TileGrid grid_;
  const int64_t points_, c_, k_, slots_, c_blocks_, blocks_;
  int64_t chunk_tiles_;
  bool at_once_, stream_;
};

}  // namespace

KernelPtr make_winograd_weight_grad(const ConvShape& shape, const WinogradTransforms& transforms) {
  return std::make_unique<WinogradWeightGrad>(Correlation::of(shape, ConvPass::weight_grad), transforms);
}

}  // namespace coolnn
