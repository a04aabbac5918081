// Separable weighted sums of pixels, along channels. Rows are summed first and then added up, which keeps the error of
// large windows small. For few channels see the remark on spilling in pool.cpp.
#include "kernels/resample.h"

#include "kernels/span.h"
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

template <int V, int ROWS, int COLUMNS, bool WEIGHTED, bool PARTIAL>
static INLINE void window_sum(const float* x, const Window& w, float* y, int lanes) {
  const int rows = ROWS > 0 ? ROWS : w.rows, columns = COLUMNS > 0 ? COLUMNS : w.columns;
  vf total[V] = {};
#pragma GCC unroll 2
  for (int i = 0; i < rows; i++) {
    vf line[V] = {};
#pragma GCC unroll 2
    for (int j = 0; j < columns; j++)
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

// Destination columns [begin, end), with COLUMNS sources each (0: any number). Passed by value: vector stores may alias
// anything, and would have every field loaded again.
template <int ROWS, int COLUMNS, bool WEIGHTED, bool PARTIAL>
static NOINLINE void span(const ResampleRow r, const ResampleAxis horizontal, Window w, int64_t begin, int64_t end) {
  const float row_divisor = w.divisor;
  const float* x_row = r.x + r.vertical->first[r.row] * w.row_step;
  for (int64_t o = begin; o < end; o++) {
    w.columns = horizontal.count[o];
    if (WEIGHTED) w.column_weight = horizontal.weight + horizontal.begin[o];
    else w.divisor = row_divisor * horizontal.divisor[o];
    const float* x = x_row + horizontal.first[o] * r.channels;
    float* y = r.y + o * r.channels;
    int64_t c = r.channel_begin;
    for (; c + 4 * VL <= r.channel_end; c += 4 * VL)
      window_sum<4, ROWS, COLUMNS, WEIGHTED, false>(x + c, w, y + c, VL);
    for (; c + VL <= r.channel_end; c += VL) window_sum<1, ROWS, COLUMNS, WEIGHTED, false>(x + c, w, y + c, VL);
    if (c < r.channel_end)
      window_sum<1, ROWS, COLUMNS, WEIGHTED, PARTIAL>(x + c, w, y + c, int(r.channel_end - c));
  }
}

template <bool WEIGHTED, bool PARTIAL> static void row_of(const ResampleRow& r) {
  const ResampleAxis &vertical = *r.vertical, &horizontal = *r.horizontal;
  Window w;
  w.rows = vertical.count[r.row];
  w.row_step = r.width * r.channels;
  w.column_step = r.channels;
  w.row_weight = WEIGHTED ? vertical.weight + vertical.begin[r.row] : 0;
  w.divisor = WEIGHTED ? 1.0f : vertical.divisor[r.row];
  for (int64_t begin = 0, end; begin < r.out_width; begin = end) {
    bool even;
    end = span_end(horizontal.count, begin, r.out_width, &even);
    const int size = even && w.rows == horizontal.count[begin] ? w.rows : 0;
    if (size == 2) span<2, 2, WEIGHTED, PARTIAL>(r, horizontal, w, begin, end);
    else if (size == 1) span<1, 1, WEIGHTED, PARTIAL>(r, horizontal, w, begin, end);
    else span<0, 0, WEIGHTED, PARTIAL>(r, horizontal, w, begin, end);
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
