// Reading patches of pictures.
#include "kernels/conv.h"

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

static INLINE void clear_run(float* to, int64_t n) {
  for (int64_t i = 0; i < n; i++) to[i] = 0;
}

static void gather(const PatchSource& s, int64_t first, int64_t count, int64_t from, int64_t to, float* rows,
                   int64_t row_stride) {
  int64_t first_run = 0;
  while (first_run < s.run_count && s.runs[first_run].start + s.runs[first_run].length <= from) first_run++;
  const int64_t line = s.width * s.pixel;
  int64_t x = first % s.grid_w, y = first / s.grid_w % s.grid_h, picture = first / s.grid_w / s.grid_h;
  for (int64_t patch = 0; patch < count; patch++) {
    const float* data = s.data + picture * s.height * line;
    float* row = rows + patch * row_stride;
    for (int64_t r = first_run; r < s.run_count && s.runs[r].start < to; r++) {
      const PatchRun& run = s.runs[r];
      const int64_t begin = run.start < from ? from : run.start;
      const int64_t end = run.start + run.length < to ? run.start + run.length : to;
      const int64_t n = end - begin, at_y = y * s.step_h + run.dy;
      float* target = row + begin - from;
      if (at_y < 0 || at_y >= s.height) {
        clear_run(target, n);
        continue;
      }
      // In floats from the line's beginning; what lies left of 0 or right of the line is zero.
      const int64_t at = (x * s.step_w + run.dx) * s.pixel + begin - run.start;
      if (at >= 0 && at + n <= line) {
        copy_run(data + at_y * line + at, target, n);
        continue;
      }
      const int64_t left = at >= 0 ? 0 : -at < n ? -at : n;
      const int64_t right = at + n <= line ? n : line - at > left ? line - at : left;
      clear_run(target, left);
      if (right > left) copy_run(data + at_y * line + at + left, target + left, right - left);
      clear_run(target + right, n - right);
    }
    if (++x == s.grid_w) {
      x = 0;
      if (++y == s.grid_h) y = 0, picture++;
    }
  }
}

extern const ConvTable conv_table;
const ConvTable conv_table = {gather};

}  // namespace COOLNN_ISA
}  // namespace coolnn
