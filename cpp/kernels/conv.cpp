// Reading patches of pictures.
#include "kernels/conv.h"

#include "kernels/gemm.h"
#include "kernels/gemm_tile.h"
#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

static INLINE void copy_run(const float* from, float* to, int64_t n) {
  if (n >= VL) {
    for (int64_t i = 0; i + VL <= n; i += VL) store(to + i, load(from + i));
    if (n % VL != 0) store(to + n - VL, load(from + n - VL));
  } else {
    store_partial(to, load_partial(from, int(n)), int(n));
  }
}

// May write up to a vector too much; `end` is where reading must stop.
static INLINE void copy_over(const float* from, const float* end, float* to, int64_t n) {
  if (end - from < n + VL) return copy_run(from, to, n);
  for (int64_t i = 0; i < n; i += VL) store(to + i, load(from + i));
}

static INLINE void clear_run(float* to, int64_t n) {
  for (int64_t i = 0; i < n; i++) to[i] = 0;
}

// A patch as one row of A. What is written too much is overwritten by the next run, or falls behind the row's end.
struct RowTarget {
  float* row;
  const float* end;
  INLINE void copy(int64_t at, const float* from, int64_t n) const { copy_over(from, end, row + at, n); }
  INLINE void clear(int64_t at, int64_t n) const { clear_run(row + at, n); }
};

// A patch as one step of the panels of B, cut where a panel ends.
struct PanelTarget {
  float* step;
  int64_t panel_floats;
  const float* end;
  INLINE void copy(int64_t at, const float* from, int64_t n) const {
    while (n > 0) {
      const int64_t column = at % TILE_COLUMNS, count = n < TILE_COLUMNS - column ? n : TILE_COLUMNS - column;
      float* to = step + at / TILE_COLUMNS * panel_floats + column;
      if (column + (count + VL - 1) / VL * VL <= TILE_COLUMNS) copy_over(from, end, to, count);
      else copy_run(from, to, count);
      at += count, from += count, n -= count;
    }
  }
  INLINE void clear(int64_t at, int64_t n) const {
    for (; n > 0; at++, n--) step[at / TILE_COLUMNS * panel_floats + at % TILE_COLUMNS] = 0;
  }
};

constexpr int64_t AHEAD = 16;  // patches for which memory is asked: with few channels of many, each is a cache miss

// Calls target_of(patch) for each patch and fills the target with the numbers [from, to).
template <class TargetOf>
static INLINE void gather(const PatchSource& s, int64_t first, int64_t count, int64_t from, int64_t to,
                          TargetOf target_of) {
  int64_t first_run = 0;
  while (first_run < s.run_count && s.runs[first_run].start + s.runs[first_run].length <= from) first_run++;
  const int64_t line = s.width * s.pixel;
  const int64_t ahead = AHEAD * s.step_w * s.pixel;
  int64_t x = first % s.grid_w, y = first / s.grid_w % s.grid_h, picture = first / s.grid_w / s.grid_h;
  for (int64_t patch = 0; patch < count; patch++) {
    const float* data = s.data + picture * s.height * line;
    const auto target = target_of(patch);
    for (int64_t r = first_run; r < s.run_count && s.runs[r].start < to; r++) {
      const PatchRun& run = s.runs[r];
      const int64_t begin = run.start < from ? from : run.start;
      const int64_t end = run.start + run.length < to ? run.start + run.length : to;
      const int64_t n = end - begin, at_y = y * s.step_h + run.dy;
      if (at_y < 0 || at_y >= s.height) {
        target.clear(begin - from, n);
        continue;
      }
      // In floats from the line's beginning; what lies left of 0 or right of the line is zero.
      const int64_t at = (x * s.step_w + run.dx) * s.pixel + begin - run.start;
      if (at >= 0 && at + n <= line) {
        prefetch(data + at_y * line + at + ahead);
        target.copy(begin - from, data + at_y * line + at, n);
        continue;
      }
      const int64_t left = at >= 0 ? 0 : -at < n ? -at : n;
      const int64_t right = at + n <= line ? n : line - at > left ? line - at : left;
      target.clear(begin - from, left);
      if (right > left) target.copy(begin - from + left, data + at_y * line + at + left, right - left);
      target.clear(begin - from + right, n - right);
    }
    if (++x == s.grid_w) {
      x = 0;
      if (++y == s.grid_h) y = 0, picture++;
    }
  }
}

static void gather_rows(const PatchSource& source, int64_t first, int64_t count, int64_t from, int64_t to, float* a) {
  gather(source, first, count, from, to, [&](int64_t patch) { return RowTarget{a + patch * GEMM_ROW_STRIDE, source.end}; });
}

static void gather_panels(const PatchSource& source, int64_t first, int64_t count, int64_t from, int64_t to, float* b) {
  gather(source, first, count, from, to,
         [&](int64_t patch) { return PanelTarget{b + patch * TILE_COLUMNS, count * TILE_COLUMNS, source.end}; });
}

static void add(const float* from, float* to, int64_t n) {
  int64_t i = 0;
  for (; i + VL <= n; i += VL) store(to + i, load(to + i) + load(from + i));
  if (i < n) store_partial(to + i, load_partial(to + i, int(n - i)) + load_partial(from + i, int(n - i)), int(n - i));
}

void depthwise_line(const DepthwiseLine& line, const GemmEpilogue& epilogue, float* y, int64_t y_pixel);
void depthwise_line_weights(const DepthwiseLine& line, const float* grad);

extern const BatchLanesTable batch_lanes_table;
extern const DirectTable direct_table;
extern const PooledLanesTable pooled_lanes_table;

extern const ConvTable conv_table;
const ConvTable conv_table = {gather_rows,    gather_panels,          add,
                              depthwise_line, depthwise_line_weights, batch_lanes_table,
                              direct_table,   pooled_lanes_table};

}  // namespace COOLNN_ISA
}  // namespace coolnn
