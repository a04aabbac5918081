// Winograd's forward pass and input gradient: y = AT [(G w GT) . (BT x B)] A, the middle as one matrix product a point.
//
// Two schedules. With few channels the transformed weights are made once and every thread goes through chunks of tiles
// alone, each small enough that the transformed tiles stay in the second-level cache from beginning to end. With many
// channels it is the weights that are large: then a chunk is much larger, all threads work on it together, and each
// panel of weights is transformed in the cache just before the one product that it takes part in. A chunk that does not
// fit the caches is written past them, which spares reading its memory before it is overwritten.
//
// Constant weights are transformed once, for either schedule: then a run only reads them.
#include "winograd.h"

namespace coolnn {
namespace {

constexpr int64_t PRIVATE_CHUNK = 640 << 10;  // bytes of transformed tiles that one thread keeps in its cache
constexpr int64_t SHARED_CHUNK = 30 << 20;     // and that all threads work on together
constexpr int64_t PRIVATE_WEIGHTS = 12 << 20;  // transformed weights beyond this do not stay in the last-level cache
constexpr int64_t STREAMED_OUTPUT = 8 << 20;   // larger outputs would leave the caches anyway
constexpr int64_t STREAMED_CHUNK = 12 << 20;   // and so would larger chunks

class WinogradCorrelation : public Kernel {
 public:
  void pack(const void* const* inputs, void* packed) const override {
    transform_weights(static_cast<const float*>(inputs[1]), static_cast<float*>(packed));
  }

 protected:
  WinogradCorrelation(const Correlation& shape, const WinogradTransforms& transforms)
      : s_(shape),
        f_(transforms),
        table_(isa().winograd),
        grid_(shape, transforms.outputs),
        points_(transforms.points * transforms.points),
        input_channels_(round_up(shape.c, WINOGRAD_BLOCK)),
        panels_(ceil_div(shape.k, table_.columns)),
        slots_(num_threads()) {
    if (s_.constant_weights) packed_bytes = size_t(4 * weights_size());
    algorithm = "winograd_" + std::to_string(f_.outputs) + "x" + std::to_string(f_.outputs);
  }

  int columns(int64_t panel) const {
    return int(std::min<int64_t>(table_.columns, round_up(s_.k - panel * table_.columns, WINOGRAD_BLOCK)));
  }
  // Tiles a panel: as even as can be, so that no small panel is left over.
  int64_t even_rows(int64_t tiles) const { return ceil_div(tiles, ceil_div(tiles, table_.rows)); }

  void transform_input(const float* x, int64_t begin, int64_t end, float* v, const TileLayout& layout,
                       int64_t origin, bool stream) const {
    grid_.each(begin, end, [&](int64_t tile, int64_t image, int64_t row, int64_t column) {
      f_.input(s_.picture(x, image), row - s_.top, column - s_.left, v + layout.tile(tile - origin), layout.point,
               layout.block(), stream);
    });
  }

  void transform_output(const Arguments& a, const float* m, const TileLayout& layout, int64_t begin, int64_t end,
                        int64_t origin, int64_t first, int64_t channels) const {
    float* const y = a.out(0);
    const float* const residual = s_.finish.residual ? a.in(3) : nullptr;
    const bool aligned = s_.k % WINOGRAD_BLOCK == 0 && reinterpret_cast<uintptr_t>(y) % 64 == 0;
    WinogradTarget target = {};
    target.height = s_.oh, target.width = s_.ow, target.channels = s_.k;
    target.bias = s_.rotated ? nullptr : a.in(2);
    target.low = s_.finish.low, target.high = s_.finish.high;
    target.pool = s_.pool;
    target.stream = aligned && s_.n * s_.written_floats() * 4 > STREAMED_OUTPUT;
    grid_.each(begin, end, [&](int64_t tile, int64_t image, int64_t row, int64_t column) {
      target.pixels = y + image * s_.written_floats();
      target.residual = residual ? residual + image * s_.output_floats() : nullptr;
      f_.output(m + layout.tile(tile - origin), layout.point, layout.block(), target, first, channels, row, column);
    });
  }

  void pack_tap(const float* weights, int tap, int64_t panel, int64_t channel, int64_t channels, float* packed,
            bool stream) const {
    const int64_t outputs = s_.rotated ? s_.c : s_.k, inputs = s_.rotated ? s_.k : s_.c;
    table_.pack(weights, outputs, inputs, s_.rotated, tap, panel * table_.columns, columns(panel), channel, channels,
                packed, stream);
  }

  void multiply(const float* v, const TileLayout& v_layout, int64_t tiles, const float* u, int columns, float* m,
                const TileLayout& m_layout, bool stream) const {
    for (int64_t panel = 0; panel * v_layout.rows < tiles; panel++)
      table_.multiply(int(std::min(v_layout.rows, tiles - panel * v_layout.rows)), columns, v + panel * v_layout.panel,
                      v_layout.block(), u, m + panel * m_layout.panel, m_layout.block(), v_layout.blocks, stream);
  }

  // All transformed weights: [panel][point][input channel][column of the panel].
  int64_t point_size(int64_t panel) const { return input_channels_ * columns(panel); }
  int64_t panel_size() const { return points_ * input_channels_ * table_.columns; }
  int64_t weights_size() const { return panels_ * panel_size(); }
  void transform_weights(const float* weights, float* to) const {
    const int64_t blocks = input_channels_ / WINOGRAD_BLOCK;
    parallel_for(panels_ * blocks, [&](int64_t task, int) {
      const int64_t panel = task / blocks, channel = task % blocks * WINOGRAD_BLOCK;
      const int width = columns(panel);
      alignas(64) float packed[WINOGRAD_BLOCK * 9 * 32];
      for (int tap = 0; tap < 9; tap++) pack_tap(weights, tap, panel, channel, WINOGRAD_BLOCK, packed, false);
      f_.weights(packed, WINOGRAD_BLOCK, width, 0, f_.points, to + panel * panel_size() + channel * width,
                 point_size(panel));
    });
  }

  const Correlation s_;
  const WinogradTransforms f_;
  const WinogradTable& table_;
  const TileGrid grid_;
  const int64_t points_, input_channels_, panels_, slots_;
};

// Few channels: chunks in each thread's own cache.
class PrivateChunks final : public WinogradCorrelation {
 public:
  PrivateChunks(const Correlation& shape, const WinogradTransforms& transforms)
      : WinogradCorrelation(shape, transforms), rows_(even_rows(grid_.tiles)) {
    const int64_t tile_bytes = 4 * points_ * (input_channels_ + table_.columns);
    const int64_t all = ceil_div(grid_.tiles, rows_);
    // Not so few chunks that threads have nothing to do, not so large that they leave the cache.
    chunk_panels_ = std::max<int64_t>(1, std::min(PRIVATE_CHUNK / (tile_bytes * rows_), all / 16));
    const int64_t own_weights = s_.constant_weights ? 0 : weights_size();
    workspace_bytes = size_t(4 * (own_weights + slots_ * (input_layout().size + product_layout().size)));
  }

  void run(const Arguments& a) const override {
    const TileLayout v_layout = input_layout(), m_layout = product_layout();
    float* scratch = static_cast<float*>(a.workspace);
    const float* weights = static_cast<const float*>(a.packed);
    if (!s_.constant_weights) {
      transform_weights(a.in(1), scratch);
      weights = scratch;
      scratch += weights_size();
    }
    const int64_t chunk_tiles = chunk_panels_ * rows_;
    for_chunks(slots_, ceil_div(grid_.tiles, chunk_tiles), [&](int64_t chunk, int64_t following, int64_t slot) {
      float* const v = scratch + slot * (v_layout.size + m_layout.size);
      float* const m = v + v_layout.size;
      const int64_t begin = chunk * chunk_tiles, end = std::min(begin + chunk_tiles, grid_.tiles);
      transform_input(a.in(0), begin, end, v, v_layout, begin, false);
      Prefetcher prefetcher;
      if (following >= 0) {
        const int64_t first = following * chunk_tiles, last = std::min(first + chunk_tiles, grid_.tiles);
        prefetcher.add(grid_, a.in(0), s_.h, s_.w, s_.c, first, last, f_.points, s_.top, s_.left);
        prefetcher.spread_over(panels_ * points_);
      }
      for (int64_t panel = 0; panel < panels_; panel++) {
        const float* const u = weights + panel * panel_size();
        const int width = columns(panel);
        for (int64_t point = 0; point < points_; point++) {
          multiply(v + point * v_layout.point, v_layout, end - begin, u + point * point_size(panel), width,
                   m + point * m_layout.point, m_layout, false);
          prefetcher.step();
        }
        const int64_t first = panel * table_.columns;
        transform_output(a, m, m_layout, begin, end, begin, first, std::min<int64_t>(width, s_.k - first));
      }
    });
  }

 private:
  TileLayout input_layout() const { return {chunk_panels_, rows_, s_.c, f_.points}; }
  TileLayout product_layout() const { return {chunk_panels_, rows_, table_.columns, f_.points}; }

  const int64_t rows_;
  int64_t chunk_panels_;
};

// Many channels: large chunks for all threads, weights transformed where they are used.
class SharedChunks final : public WinogradCorrelation {
 public:
  SharedChunks(const Correlation& shape, const WinogradTransforms& transforms)
      : WinogradCorrelation(shape, transforms) {
    const int64_t tile_bytes = 4 * points_ * (input_channels_ + round_up(s_.k, WINOGRAD_BLOCK));
    const int64_t most = std::max<int64_t>(table_.rows, SHARED_CHUNK / tile_bytes);
    chunk_tiles_ = ceil_div(grid_.tiles, ceil_div(grid_.tiles, most));
    rows_ = even_rows(chunk_tiles_);
    const int64_t chunk = input_layout().size + product_layout().size;
    stream_ = 4 * chunk > STREAMED_CHUNK;
    workspace_bytes = size_t(4 * (chunk + (s_.constant_weights ? 0 : taps_size() + slots_ * points_row_size())));
  }

  void run(const Arguments& a) const override {
    const TileLayout v_layout = input_layout(), m_layout = product_layout();
    float* const v = static_cast<float*>(a.workspace);
    float* const m = v + v_layout.size;
    float* const taps = m + m_layout.size;  // here and behind only if weights are not constant
    float* const scratch = taps + taps_size();
    if (!s_.constant_weights) pack_taps(a.in(1), taps);
    for (int64_t begin = 0; begin < grid_.tiles; begin += chunk_tiles_) {
      const int64_t tiles = std::min(chunk_tiles_, grid_.tiles - begin);
      parallel_range(tiles, rows_, [&](int64_t from, int64_t to) {
        transform_input(a.in(0), begin + from, begin + to, v, v_layout, begin, stream_);
      });
      for_chunks(slots_, panels_ * f_.points, [&](int64_t task, int64_t, int64_t slot) {
        const int64_t panel = task / f_.points, row = task % f_.points;
        if (s_.constant_weights) {
          const float* const u = static_cast<const float*>(a.packed) + panel * panel_size();
          products(u + row * f_.points * point_size(panel), point_size(panel), panel, row, v, v_layout, tiles, m, m_layout);
          return;
        }
        float* const u = scratch + slot * points_row_size();
        const int64_t u_point = input_channels_ * table_.columns + STAGGER;
        f_.weights(taps + panel * panel_taps_size(), input_channels_, columns(panel), int(row), 1, u, u_point);
        products(u, u_point, panel, row, v, v_layout, tiles, m, m_layout);
      });
      parallel_range(tiles, rows_, [&](int64_t from, int64_t to) {
        transform_output(a, m, m_layout, begin + from, begin + to, begin, 0, s_.k);
      });
    }
  }

 private:
  TileLayout input_layout() const { return {ceil_div(chunk_tiles_, rows_), rows_, s_.c, f_.points}; }
  TileLayout product_layout() const { return {ceil_div(chunk_tiles_, rows_), rows_, s_.k, f_.points}; }
  int64_t panel_taps_size() const { return input_channels_ * 9 * table_.columns; }
  int64_t taps_size() const { return panels_ * panel_taps_size(); }
  int64_t points_row_size() const { return f_.points * (input_channels_ * table_.columns + STAGGER); }

  void pack_taps(const float* weights, float* taps) const {
    parallel_for(panels_ * 9, [&](int64_t task, int) {
      pack_tap(weights, int(task % 9), task / 9, 0, input_channels_, taps + task / 9 * panel_taps_size(), true);
    });
  }

  // The products of one panel of output channels at the points of one row.
  void products(const float* u, int64_t u_point, int64_t panel, int64_t row, const float* v, const TileLayout& v_layout,
                int64_t tiles, float* m, const TileLayout& m_layout) const {
    float* const target = m + panel * (table_.columns / WINOGRAD_BLOCK) * m_layout.block();
    for (int64_t i = 0; i < f_.points; i++) {
      const int64_t point = row * f_.points + i;
      multiply(v + point * v_layout.point, v_layout, tiles, u + i * u_point, columns(panel),
               target + point * m_layout.point, m_layout, stream_);
    }
  }

  int64_t chunk_tiles_, rows_;
  bool stream_;
};

}  // namespace

KernelPtr make_winograd_correlation(const ConvShape& shape, ConvPass pass, const WinogradTransforms& transforms) {
  const Correlation s = Correlation::of(shape, pass);
  const int64_t points = transforms.points * transforms.points, tiles = TileGrid(s, transforms.outputs).tiles;
  // Private chunks read the weights once a chunk, shared ones once in all, but the tiles come and go by the last level.
  const bool more_weights = s.c * s.k > tiles * (s.c + s.k);
  if (more_weights || 4 * points * s.c * s.k > PRIVATE_WEIGHTS) return std::make_unique<SharedChunks>(s, transforms);
  return std::make_unique<PrivateChunks>(s, transforms);
}

}  // namespace coolnn
