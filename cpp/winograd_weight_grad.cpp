// Winograd's weight gradient: dw = GT [sum over tiles of (BT x B) . (A dy AT)] G, the sum as one matrix product a point.
//
// Two schedules again. With few channels the sums of all points are small: the tiles are cut into groups, each with
// sums of its own, which one thread computes in its cache; at the end they are added in the order of the groups. With
// many channels there is one set of sums, cut into blocks of channels: all threads transform a chunk of tiles, then
// each takes a block at a time and adds up the whole chunk. Groups, chunks and blocks depend on the shape alone.
#include "winograd.h"

namespace coolnn {
namespace {

constexpr int64_t PRIVATE_CHUNK = 512 << 10;  // bytes of transformed tiles that one thread keeps in its cache
constexpr int64_t SHARED_CHUNK = 24 << 20;    // and all threads together in the last-level cache
constexpr int64_t PRIVATE_SUMS = 6 << 20;     // larger sums are cut into blocks
constexpr int64_t GROUP_SUMS = 32 << 20;      // bytes of the sums of all groups
constexpr int64_t GROUPS = 16;
constexpr int64_t SUM_BLOCK = 64;             // channels of x and of dy in a block of sums
constexpr int64_t RUN = 64;                   // tiles added up at a time: 64 channels of them fit the first-level cache

class WinogradWeightGrad : public Kernel {
 protected:
  WinogradWeightGrad(const Correlation& shape, const WinogradTransforms& transforms)
      : s_(shape),
        f_(transforms),
        table_(isa().winograd),
        grid_(shape, transforms.outputs),
        points_(transforms.points * transforms.points),
        c_(round_up(shape.c, WINOGRAD_BLOCK)),
        k_(round_up(shape.k, WINOGRAD_BLOCK)),
        slots_(num_threads()) {
    algorithm = "winograd_" + std::to_string(f_.outputs) + "x" + std::to_string(f_.outputs);
  }

  // All tiles of a chunk lie in one panel: the products run along tiles.
  TileLayout layout(int64_t tiles, int64_t channels) const { return {1, tiles, channels, f_.points}; }

  void transform(const Arguments& a, int64_t begin, int64_t end, int64_t origin, float* v, const TileLayout& v_layout,
                 float* d, const TileLayout& d_layout) const {
    grid_.each(begin, end, [&](int64_t tile, int64_t image, int64_t row, int64_t column) {
      f_.input(s_.picture(a.in(0), image), row - s_.top, column - s_.left, v + v_layout.tile(tile - origin),
               v_layout.point, v_layout.block());
      f_.gradient(s_.output_picture(a.in(1), image), row, column, d + d_layout.tile(tile - origin), d_layout.point,
                  d_layout.block());
    });
  }

  // Adds one point's products of k_count x c_count channels to sums with rows of c_count.
  void add_products(const float* v, int64_t v_block, const float* d, int64_t d_block, int64_t tiles, int64_t k_count,
                    int64_t c_count, float* sums, bool add) const {
    for (int64_t begin = 0; begin < tiles; begin += RUN) {
      const int count = int(std::min(RUN, tiles - begin));
      for (int64_t k = 0; k < k_count; k += WINOGRAD_BLOCK)
        table_.accumulate(d + k / WINOGRAD_BLOCK * d_block + begin * WINOGRAD_BLOCK, v + begin * WINOGRAD_BLOCK,
                          v_block, count, sums + k * c_count, c_count, c_count, add || begin > 0);
    }
  }

  const Correlation s_;
  const WinogradTransforms f_;
  const WinogradTable& table_;
  const TileGrid grid_;
  const int64_t points_, c_, k_, slots_;
};

// Few channels: groups of tiles with sums of their own.
class PrivateSums final : public WinogradWeightGrad {
 public:
  PrivateSums(const Correlation& shape, const WinogradTransforms& transforms)
      : WinogradWeightGrad(shape, transforms),
        point_(k_ * c_ + STAGGER),
        groups_(std::min({GROUPS, std::max<int64_t>(2, GROUP_SUMS / (4 * points_ * point_)), grid_.tiles})),
        group_tiles_(ceil_div(grid_.tiles, groups_)) {
    const int64_t most = std::max<int64_t>(8, PRIVATE_CHUNK / (4 * points_ * (c_ + k_)));
    chunk_tiles_ = ceil_div(group_tiles_, ceil_div(group_tiles_, most));
    workspace_bytes = size_t(4 * (groups_ * points_ * point_ +
                                  slots_ * (layout(chunk_tiles_, c_).size + layout(chunk_tiles_, k_).size)));
  }

  void run(const Arguments& a) const override {
    float* const sums = static_cast<float*>(a.workspace);
    float* const scratch = sums + groups_ * points_ * point_;
    const TileLayout v_layout = layout(chunk_tiles_, c_), d_layout = layout(chunk_tiles_, k_);
    const int64_t groups = ceil_div(grid_.tiles, group_tiles_);
    for_chunks(slots_, groups, [&](int64_t group, int64_t, int64_t slot) {
      float* const v = scratch + slot * (v_layout.size + d_layout.size);
      float* const d = v + v_layout.size;
      const int64_t first = group * group_tiles_, last = std::min(first + group_tiles_, grid_.tiles);
      for (int64_t begin = first; begin < last; begin += chunk_tiles_) {
        const int64_t end = std::min(begin + chunk_tiles_, last);
        transform(a, begin, end, begin, v, v_layout, d, d_layout);
        for (int64_t point = 0; point < points_; point++)
          add_products(v + point * v_layout.point, v_layout.block(), d + point * d_layout.point, d_layout.block(),
                       end - begin, k_, c_, sums + (group * points_ + point) * point_, begin > first);
      }
    });
    parallel_for(s_.k, [&](int64_t k, int) {
      f_.weight_gradient(sums + k * c_, point_, int(groups), points_ * point_, a.out(0) + k * 9 * s_.c, s_.c, s_.c);
    });
  }

 private:
  const int64_t point_, groups_, group_tiles_;
  int64_t chunk_tiles_;
};

// Many channels: blocks of sums.
class SharedSums final : public WinogradWeightGrad {
 public:
  SharedSums(const Correlation& shape, const WinogradTransforms& transforms)
      : WinogradWeightGrad(shape, transforms), c_blocks_(ceil_div(c_, SUM_BLOCK)), k_blocks_(ceil_div(k_, SUM_BLOCK)) {
    const int64_t most = std::max<int64_t>(RUN, SHARED_CHUNK / (4 * points_ * (c_ + k_)));
    chunk_tiles_ = ceil_div(grid_.tiles, ceil_div(grid_.tiles, most));
    const int64_t blocks = one_chunk() ? slots_ : c_blocks_ * k_blocks_;
    workspace_bytes =
        size_t(4 * (layout(chunk_tiles_, c_).size + layout(chunk_tiles_, k_).size + blocks * points_ * POINT));
  }

  void run(const Arguments& a) const override {
    const TileLayout v_layout = layout(chunk_tiles_, c_), d_layout = layout(chunk_tiles_, k_);
    float* const v = static_cast<float*>(a.workspace);
    float* const d = v + v_layout.size;
    float* const sums = d + d_layout.size;
    for (int64_t begin = 0; begin < grid_.tiles; begin += chunk_tiles_) {
      const int64_t tiles = std::min(chunk_tiles_, grid_.tiles - begin);
      parallel_range(tiles, TRANSFORM_GRAIN, [&](int64_t from, int64_t to) {
        transform(a, begin + from, begin + to, begin, v, v_layout, d, d_layout);
      });
      for_chunks(slots_, c_blocks_ * k_blocks_, [&](int64_t block, int64_t, int64_t slot) {
        const int64_t k = block / c_blocks_ * SUM_BLOCK, c = block % c_blocks_ * SUM_BLOCK;
        const int64_t k_count = std::min(SUM_BLOCK, k_ - k), c_count = std::min(SUM_BLOCK, c_ - c);
        float* const to = sums + (one_chunk() ? slot : block) * points_ * POINT;
        for (int64_t point = 0; point < points_; point++)
          add_products(v + point * v_layout.point + c / WINOGRAD_BLOCK * v_layout.block(), v_layout.block(),
                       d + point * d_layout.point + k / WINOGRAD_BLOCK * d_layout.block(), d_layout.block(), tiles,
                       k_count, c_count, to + point * POINT, begin > 0);
        if (begin + tiles == grid_.tiles) finish(to, k, std::min(k_count, s_.k - k), c, c_count, a.out(0));
      });
    }
  }

 private:
  static constexpr int64_t POINT = SUM_BLOCK * SUM_BLOCK + STAGGER;
  static constexpr int64_t TRANSFORM_GRAIN = 8;

  bool one_chunk() const { return chunk_tiles_ == grid_.tiles; }

  void finish(const float* sums, int64_t k, int64_t k_count, int64_t c, int64_t c_count, float* dw) const {
    for (int64_t i = 0; i < k_count; i++)
      f_.weight_gradient(sums + i * c_count, POINT, 1, 0, dw + (k + i) * 9 * s_.c + c, s_.c,
                         std::min(c_count, s_.c - c));
  }

  const int64_t c_blocks_, k_blocks_;
  int64_t chunk_tiles_;
};

}  // namespace

KernelPtr make_winograd_weight_grad(const ConvShape& shape, const WinogradTransforms& transforms) {
  const Correlation s = Correlation::of(shape, ConvPass::weight_grad);
  if (4 * transforms.points * transforms.points * s.c * s.k > PRIVATE_SUMS)
    return std::make_unique<SharedSums>(s, transforms);
  return std::make_unique<PrivateSums>(s, transforms);
}

}  // namespace coolnn
