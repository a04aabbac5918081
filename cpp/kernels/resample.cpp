// Separable weighted sums of pixels, along channels. Rows are summed first and then added up, which keeps the error of
// large windows small. For few channels see the remark on spilling in pool.cpp.
#include "kernels/resample.h"

#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

// The windows of one destination pixel.
struct Window {
  int rows, columns;
  int64_t row_step, column_step;
  const float *row_weight, *column_weight;
  float divisor;
};

template <int V, bool WEIGHTED, bool PARTIAL>
static INLINE void window_sum(const float* x, const Window& w, float* y, int lanes) {
  vf total[V] = {};
  for (int i = 0; i < w.rows; i++) {
    vf line[V] = {};
    for (int j = 0; j < w.columns; j++)
      for (int v = 0; v < V; v++) {
        const float* p = x + i * w.row_step + j * w.column_step + v * VL;
        const vf value = PARTIAL ? load_partial(p, lanes) : load(p);
        line[v] = WEIGHTED ? fma(value, broadcast(w.column_weight[j]), line[v]) : line[v] + value;
      }
    for (int v = 0; v < V; v++)
      total[v] = WEIGHTED ? fma(line[v], broadcast(w.row_weight[i]), total[v]) : total[v] + line[v];
  }
  for (int v = 0; v < V; v++) {
    const vf result = WEIGHTED ? total[v] : total[v] / broadcast(w.divisor);
    if (PARTIAL) store_partial(y + v * VL, result, lanes);
    else store(y + v * VL, result);
  }
}

template <bool WEIGHTED, bool PARTIAL> static void row_of(const ResampleRow& r) {
  const ResampleAxis &vertical = *r.vertical, &horizontal = *r.horizontal;
  Window w;
  w.rows = vertical.count[r.row];
  w.row_step = r.width * r.channels;
  w.column_step = r.channels;
  w.row_weight = WEIGHTED ? vertical.weight + vertical.begin[r.row] : 0;
  const float* x_row = r.x + vertical.first[r.row] * w.row_step;
  for (int64_t o = 0; o < r.out_width; o++) {
    w.columns = horizontal.count[o];
    w.column_weight = WEIGHTED ? horizontal.weight + horizontal.begin[o] : 0;
    w.divisor = WEIGHTED ? 1.0f : vertical.divisor[r.row] * horizontal.divisor[o];
    const float* x = x_row + horizontal.first[o] * r.channels;
    float* y = r.y + o * r.channels;
    int64_t c = r.channel_begin;
    for (; c + 4 * VL <= r.channel_end; c += 4 * VL) window_sum<4, WEIGHTED, false>(x + c, w, y + c, VL);
    for (; c + VL <= r.channel_end; c += VL) window_sum<1, WEIGHTED, false>(x + c, w, y + c, VL);
    if (c < r.channel_end) window_sum<1, WEIGHTED, PARTIAL>(x + c, w, y + c, int(r.channel_end - c));
  }
}

static void row(const ResampleRow& r) {
  const int64_t spill = (VL - r.channels % VL) % VL;
  const float* last = r.x + (r.vertical->first[r.row] + r.vertical->count[r.row]) * r.width * r.channels;
  const bool whole = r.channel_begin == 0 && r.channel_end == r.channels;
  const bool room = whole && r.y_end - (r.y + r.out_width * r.channels) >= spill && r.x_end - last >= spill;
  if (r.vertical->divisor == 0) {
    if (room) row_of<true, false>(r);
    else row_of<true, true>(r);
  } else {
    if (room) row_of<false, false>(r);
    else row_of<false, true>(r);
  }
}

extern const ResampleTable resample_table;
const ResampleTable resample_table = {row};

}  // namespace COOLNN_ISA
}  // namespace coolnn
