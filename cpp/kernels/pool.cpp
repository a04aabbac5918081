// Max pooling and its gradient, along channels. A picture with few channels uses few lanes of a vector: there a whole
// vector is read and written all the same, and the next pixel's write mends what the last one spilled. That costs
// nothing, and only where a row ends at the end of the memory are partial vectors used (PARTIAL). Rows are passed by
// value to the loops: vector stores may alias anything, and would have every field loaded again.
#include "kernels/pool.h"

#include "kernels/span.h"
#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

template <bool PARTIAL> static INLINE vf read(const float* p, int lanes) {
  return PARTIAL ? load_partial(p, lanes) : load(p);
}
template <bool PARTIAL> static INLINE vi read_int(const int32_t* p, int lanes) {
  return PARTIAL ? as_int(load_partial((const float*)p, lanes)) : load_int(p);
}
template <bool PARTIAL> static INLINE void write(float* p, vf x, int lanes) {
  if (PARTIAL) store_partial(p, x, lanes);
  else store(p, x);
}

// The maximum over one window for V vectors of channels. The first maximum wins; a NaN wins over all that came before.
template <int V, int ROWS, int COLUMNS, bool PARTIAL, bool INDICES>
static INLINE void max_window(const MaxPoolRow& r, const float* x, int columns, float* y, int32_t* indices,
                              int32_t pixel, int lanes) {
  const int nh = ROWS > 0 ? ROWS : r.rows, nw = COLUMNS > 0 ? COLUMNS : columns;
  const int64_t row_step = r.row_step * r.width * r.channels, column_step = r.column_step * r.channels;
  vf best[V];
  vi where[V];
  for (int v = 0; v < V; v++) best[v] = read<PARTIAL>(x + v * VL, lanes), where[v] = (vi){};
#pragma GCC unroll 3
  for (int i = 0; i < nh; i++) {
#pragma GCC unroll 3
    for (int j = 0; j < nw; j++) {
      if (i == 0 && j == 0) continue;
      const vi tap = broadcast_int(int32_t(i * r.row_step * r.width + j * r.column_step));
      for (int v = 0; v < V; v++) {
        const vf value = read<PARTIAL>(x + i * row_step + j * column_step + v * VL, lanes);
        const vi take = (value > best[v]) | (value != value);
        best[v] = select(take, value, best[v]);
        if (INDICES) where[v] = take ? tap : where[v];
      }
    }
  }
  for (int v = 0; v < V; v++) {
    write<PARTIAL>(y + v * VL, best[v], lanes);
    if (INDICES) write<PARTIAL>((float*)indices + v * VL, as_float(where[v] + pixel), lanes);
  }
}

static void max_of_nothing(float* y, int32_t* indices, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    y[i] = -__builtin_inff();
    if (indices != nullptr) indices[i] = -1;
  }
}

// Output columns [begin, end). A function of its own for each size of windows (0: any): in one large function the
// compiler runs out of registers for the loops that matter.
template <int ROWS, int COLUMNS, bool PARTIAL, bool INDICES>
static NOINLINE void max_span(const MaxPoolRow r, int64_t begin, int64_t end) {
  const int32_t row_pixel = int32_t(r.row * r.width);
  for (int64_t o = begin; o < end; o++) {
    const int columns = r.count[o];
    const int32_t pixel = row_pixel + r.first[o];
    const float* x = r.x + pixel * r.channels;
    float* y = r.y + o * r.channels;
    int32_t* indices = INDICES ? r.indices + o * r.channels : nullptr;
    if (COLUMNS == 0 && columns == 0) {
      max_of_nothing(y, indices, r.channels);
      continue;
    }
    int64_t c = 0;
    for (; c + 2 * VL <= r.channels; c += 2 * VL)
      max_window<2, ROWS, COLUMNS, false, INDICES>(r, x + c, columns, y + c, indices + c, pixel, VL);
    if (c + VL <= r.channels) {
      max_window<1, ROWS, COLUMNS, false, INDICES>(r, x + c, columns, y + c, indices + c, pixel, VL);
      c += VL;
    }
    if (c < r.channels)
      max_window<1, ROWS, COLUMNS, PARTIAL, INDICES>(r, x + c, columns, y + c, indices + c, pixel,
                                                       int(r.channels - c));
  }
}

template <bool PARTIAL, bool INDICES> static void max_row_of(const MaxPoolRow& r) {
  for (int64_t begin = 0, end; begin < r.out_width; begin = end) {
    bool even;
    end = span_end(r.count, begin, r.out_width, &even);
    const int size = even && r.rows == r.count[begin] ? r.rows : 0;
    if (size == 2) max_span<2, 2, PARTIAL, INDICES>(r, begin, end);
    else if (size == 3) max_span<3, 3, PARTIAL, INDICES>(r, begin, end);
    else max_span<0, 0, PARTIAL, INDICES>(r, begin, end);
  }
}

static void max_row(const MaxPoolRow& r) {
  if (r.rows == 0) return max_of_nothing(r.y, r.indices, r.out_width * r.channels);
  const int64_t spill = (VL - r.channels % VL) % VL;
  const float* last = r.x + (r.row + (r.rows - 1) * r.row_step + 1) * r.width * r.channels;
  const bool room = r.y_end - (r.y + r.out_width * r.channels) >= spill && r.x_end - last >= spill;
  if (r.indices == nullptr) room ? max_row_of<false, false>(r) : max_row_of<true, false>(r);
  else room ? max_row_of<false, true>(r) : max_row_of<true, true>(r);
}

// What one pixel collects from the windows over it, for one vector of channels.
template <bool SINGLE, bool PARTIAL>
static INLINE void collect(const float* grad, const int32_t* indices, int rows, int columns, int64_t row_step,
                           int64_t column_step, vi pixel, float* dx, int lanes) {
  vf sum = zero();
  for (int i = 0; i < (SINGLE ? 1 : rows); i++)
    for (int j = 0; j < (SINGLE ? 1 : columns); j++) {
      const int64_t at = i * row_step + j * column_step;
      const vi hit = read_int<PARTIAL>(indices + at, lanes) == pixel;
      sum += select(hit, read<PARTIAL>(grad + at, lanes), zero());
    }
  write<PARTIAL>(dx, sum, lanes);
}

template <bool SINGLE, bool PARTIAL>
static NOINLINE void max_grad_span(const MaxPoolGradRow r, int64_t begin, int64_t end) {
  const int64_t C = r.channels, row_step = r.out_width * C;
  for (int64_t w = begin; w < end; w++) {
    const int columns = r.count[w];
    const vi pixel = broadcast_int(int32_t(r.pixel + w));
    const float* grad = r.grad + r.row * row_step + r.first[w] * C;
    const int32_t* indices = r.indices + r.row * row_step + r.first[w] * C;
    float* dx = r.dx + w * C;
    int64_t c = 0;
    for (; c + VL <= C; c += VL)
      collect<SINGLE, false>(grad + c, indices + c, r.rows, columns, row_step, C, pixel, dx + c, VL);
    if (c < C)
      collect<SINGLE, PARTIAL>(grad + c, indices + c, r.rows, columns, row_step, C, pixel, dx + c, int(C - c));
  }
}

template <bool PARTIAL> static void max_grad_row_of(const MaxPoolGradRow& r) {
  for (int64_t begin = 0, end; begin < r.width; begin = end) {
    bool even;
    end = span_end(r.count, begin, r.width, &even);
    if (even && r.rows == 1 && r.count[begin] == 1) max_grad_span<true, PARTIAL>(r, begin, end);
    else max_grad_span<false, PARTIAL>(r, begin, end);
  }
}

// Columns that belong to one window only come in runs (windows that do not overlap): each window is read once a row.
// For pictures of at most one vector of channels, whose time goes into such overheads.
static void max_grad_row_narrow(const MaxPoolGradRow r) {
  const int64_t C = r.channels;
  for (int64_t w = 0; w < r.width;) {
    const int32_t first = r.first[w];
    if (r.count[w] == 0) {
      store(r.dx + w * C, zero());
      w++;
      continue;
    }
    const int64_t at = (r.row * r.out_width + first) * C;
    const vi winner = load_int(r.indices + at);
    const vf grad = load(r.grad + at);
    do {
      store(r.dx + w * C, select(winner == broadcast_int(int32_t(r.pixel + w)), grad, zero()));
      w++;
    } while (w < r.width && r.count[w] == 1 && r.first[w] == first);
  }
}

static void max_grad_row(const MaxPoolGradRow& r) {
  const int64_t spill = (VL - r.channels % VL) % VL;
  const float* last = r.grad + (r.row + r.rows) * r.out_width * r.channels;
  const bool room = r.dx_end - (r.dx + r.width * r.channels) >= spill && r.grad_end - last >= spill;
  bool single = room && r.channels <= VL && r.rows == 1;
  for (int64_t w = 0; single && w < r.width; w++) single = r.count[w] <= 1;
  if (single) max_grad_row_narrow(r);
  else if (room) max_grad_row_of<false>(r);
  else max_grad_row_of<true>(r);
}

static void max_scatter(const float* grad, const int32_t* indices, float* dx, int64_t windows, int64_t pixels,
                        int64_t channels, int64_t begin, int64_t end) {
  for (int64_t p = 0; p < pixels; p++)
    for (int64_t c = begin; c < end; c++) dx[p * channels + c] = 0;
  for (int64_t p = 0; p < windows; p++)
    for (int64_t c = begin; c < end; c++) {
      const int64_t pixel = indices[p * channels + c];
      if (pixel >= 0 && pixel < pixels) dx[pixel * channels + c] += grad[p * channels + c];
    }
}

extern const PoolTable pool_table;
const PoolTable pool_table = {max_row, max_grad_row, max_scatter};

}  // namespace COOLNN_ISA
}  // namespace coolnn
