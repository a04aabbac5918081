// Depthwise convolution: channels in the lanes, a few neighbouring pixels in registers.
#include "kernels/conv.h"
#include "kernels/gemm.h"
#include "kernels/span.h"
#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

constexpr int PIXELS = 8;     // outputs at once: as many sums as hide the latency of a multiply-add
constexpr int MOST_ROW_TAPS = 7;  // with their weights, outputs and a pixel in 16 registers
constexpr int TAPS = 9;       // weight gradients at once

static INLINE vf load_some(const float* p, int n) { return n == VL ? load(p) : load_partial(p, n); }
static INLINE void store_some(float* p, vf x, int n) { n == VL ? store(p, x) : store_partial(p, x, n); }

// The results of some patches of a line: where they go and what becomes of them.
struct Results {
  float* y;
  int64_t pixel;
  const float *bias, *residual;  // or null; the residual lies as y
  vf low, high;

  Results from(int64_t patch) const {
    Results later = *this;
    later.y += patch * pixel;
    if (residual != nullptr) later.residual += patch * pixel;
    return later;
  }
  INLINE vf start(int64_t channel, int lanes) const { return bias != nullptr ? load_some(bias + channel, lanes) : zero(); }
  INLINE void put(int64_t patch, int64_t channel, vf sum, int lanes) const {
    const int64_t at = patch * pixel + channel;
    if (residual != nullptr) sum = sum + load_some(residual + at, lanes);
    store_some(y + at, min(high, max(low, sum)), lanes);
  }
};

// N patches inside the line, from the corner x on.
template <int N>
static INLINE void full_patches(const DepthwiseLine& line, const float* x, const Results& results, int64_t channel,
                                int lanes) {
  vf sum[N];
  const vf start = results.start(channel, lanes);
#pragma GCC unroll 8
  for (int i = 0; i < N; i++) sum[i] = start;
  const int64_t pixel = line.step * line.channels;
  for (int64_t t = 0; t < line.tap_count; t++) {
    const vf weight = load(line.taps[t].weight + channel * line.all_taps);
    const float* at = x + line.taps[t].offset + channel;
    // The last line is new: what the next patches need of it is asked for.
    if (t + 2 >= line.tap_count) {
#pragma GCC unroll 8
      for (int i = 0; i < N; i++) prefetch(at + (i + N) * pixel);
    }
#pragma GCC unroll 8
    for (int i = 0; i < N; i++) sum[i] = fma(load_some(at + i * pixel, lanes), weight, sum[i]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < N; i++) results.put(i, channel, sum[i], lanes);
}

template <int N> static void all_channels(const DepthwiseLine& line, const float* x, const Results& results) {
  int64_t c = 0;
  for (; c + VL <= line.channels; c += VL) full_patches<N>(line, x, results, c, VL);
  if (c < line.channels) full_patches<N>(line, x, results, c, int(line.channels - c));
}

static INLINE bool inside(const DepthwiseLine& line, int64_t patch, int64_t dx) {
  const int64_t at = patch * line.step + dx;
  return at >= 0 && at < line.width;
}

static void edge_patch(const DepthwiseLine& line, int64_t patch, const Results& results) {
  const float* x = line.x + patch * line.step * line.channels;
  for (int64_t c = 0; c < line.channels; c += VL) {
    const int lanes = int(line.channels - c < VL ? line.channels - c : VL);
    vf sum = results.start(c, lanes);
    for (int64_t t = 0; t < line.tap_count; t++) {
      const DepthwiseTap& tap = line.taps[t];
      if (inside(line, patch, tap.dx))
        sum = fma(load_some(x + tap.offset + c, lanes), load(tap.weight + c * line.all_taps), sum);
    }
    results.put(patch, c, sum, lanes);
  }
}

// N neighbouring patches of taps that lie in rows of WIDTH: each pixel is read once for all patches that it belongs to.
// Of the columns under these patches those in [first, last) are inside the line; all, unless EDGE.
template <int N, int WIDTH, int STEP, bool EDGE>
static INLINE void row_patches(const DepthwiseLine& line, const float* x, int64_t first, int64_t last,
                               const Results& results, int64_t channel, int lanes) {
  constexpr int COLUMNS = (N - 1) * STEP + WIDTH;
  vf sum[N];
  const vf start = results.start(channel, lanes);
#pragma GCC unroll 8
  for (int i = 0; i < N; i++) sum[i] = start;
  for (int64_t t = 0; t < line.tap_count; t += WIDTH) {
    const float* w = line.taps[t].weight + channel * line.all_taps;
    const float* at = x + line.taps[t].offset + channel;
    vf weight[WIDTH];
#pragma GCC unroll 7
    for (int k = 0; k < WIDTH; k++) weight[k] = load(w + k * line.row_step);
#pragma GCC unroll 21
    for (int j = 0; j < COLUMNS; j++) {
      if (EDGE && (j < first || j >= last)) continue;
      const vf pixel = load_some(at + j * line.channels, lanes);
#pragma GCC unroll 7
      for (int k = 0; k < WIDTH; k++)
        if (j >= k && (j - k) % STEP == 0 && (j - k) / STEP < N)
          sum[(j - k) / STEP] = fma(pixel, weight[k], sum[(j - k) / STEP]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < N; i++) results.put(i, channel, sum[i], lanes);
}

template <int N, int WIDTH, int STEP, bool EDGE>
static NOINLINE void row_patches_of_channels(const DepthwiseLine& line, const float* x, int64_t first, int64_t last,
                                             const Results& results) {
  int64_t c = 0;
  for (; c + VL <= line.channels; c += VL) row_patches<N, WIDTH, STEP, EDGE>(line, x, first, last, results, c, VL);
  if (c < line.channels)
    row_patches<N, WIDTH, STEP, EDGE>(line, x, first, last, results, c, int(line.channels - c));
}

template <int WIDTH, int STEP> static void line_of_rows(const DepthwiseLine& line, const Results& results) {
  using Patches = void (*)(const DepthwiseLine&, const float*, int64_t, int64_t, const Results&);
#define BOTH(N) {row_patches_of_channels<N, WIDTH, STEP, false>, row_patches_of_channels<N, WIDTH, STEP, true>}
  static const Patches functions[PIXELS][2] = {BOTH(1), BOTH(2), BOTH(3), BOTH(4), BOTH(5), BOTH(6), BOTH(7), BOTH(8)};
#undef BOTH
  const int64_t parts = (line.count + PIXELS - 1) / PIXELS;  // nearly equal ones
  for (int64_t part = 0, patch = 0; part < parts; part++) {
    const int64_t n = (line.count - patch) / (parts - part), columns = (n - 1) * STEP + WIDTH;
    const int64_t column = patch * STEP + line.taps[0].dx;
    const int64_t first = column < 0 ? -column : 0, last = column + columns > line.width ? line.width - column : columns;
    functions[n - 1][first > 0 || last < columns](line, line.x + patch * STEP * line.channels, first, last,
                                                  results.from(patch));
    patch += n;
  }
}

// Null where there is no function for this line.
static void (*rows_function(const DepthwiseLine& line))(const DepthwiseLine&, const Results&) {
  if (line.step > 2 || line.tap_count == 0) return nullptr;
  const bool strided = line.step == 2;
  switch (line.row_taps) {
    case 3: return strided ? line_of_rows<3, 2> : line_of_rows<3, 1>;
    case 5: return strided ? line_of_rows<5, 2> : line_of_rows<5, 1>;
    case MOST_ROW_TAPS: return strided ? line_of_rows<7, 2> : line_of_rows<7, 1>;
    default: return nullptr;
  }
}

extern void depthwise_line(const DepthwiseLine& line, const GemmEpilogue& epilogue, float* y, int64_t y_pixel);
void depthwise_line(const DepthwiseLine& line, const GemmEpilogue& epilogue, float* y, int64_t y_pixel) {
  const Results results = {y,           y_pixel, epilogue.bias, epilogue.residual, broadcast(epilogue.low),
                           broadcast(epilogue.high)};
  if (const auto rows = rows_function(line)) return rows(line, results);
  int64_t patch = 0;
  for (; patch < line.full_begin; patch++) edge_patch(line, patch, results);
  const int64_t pixel = line.step * line.channels;
  for (; patch + PIXELS <= line.full_end; patch += PIXELS)
    all_channels<PIXELS>(line, line.x + patch * pixel, results.from(patch));
  for (; patch + 4 <= line.full_end; patch += 4) all_channels<4>(line, line.x + patch * pixel, results.from(patch));
  for (; patch < line.full_end; patch++) all_channels<1>(line, line.x + patch * pixel, results.from(patch));
  for (; patch < line.count; patch++) edge_patch(line, patch, results);
}

// Adds to N weight gradients the patches inside the line.
template <int N>
static INLINE void add_full(const DepthwiseLine& line, const DepthwiseTap* taps, const float* grad, int64_t channel,
                            int lanes) {
  vf sum[N];
#pragma GCC unroll 9
  for (int t = 0; t < N; t++) sum[t] = load_some(taps[t].weight_grad + channel, lanes);
  const int64_t pixel = line.step * line.channels;
  const float* x = line.x + line.full_begin * pixel + channel;
  const float* g = grad + line.full_begin * line.channels + channel;
  for (int64_t patch = line.full_begin; patch < line.full_end; patch++) {
    const vf gradient = load_some(g, lanes);
#pragma GCC unroll 9
    for (int t = 0; t < N; t++) sum[t] = fma(load_some(x + taps[t].offset, lanes), gradient, sum[t]);
    x += pixel;
    g += line.channels;
  }
#pragma GCC unroll 9
  for (int t = 0; t < N; t++) store_some(taps[t].weight_grad + channel, sum[t], lanes);
}

template <int N>
static void add_full_channels(const DepthwiseLine& line, const DepthwiseTap* taps, const float* grad) {
  int64_t c = 0;
  for (; c + VL <= line.channels; c += VL) add_full<N>(line, taps, grad, c, VL);
  if (c < line.channels) add_full<N>(line, taps, grad, c, int(line.channels - c));
}

static void add_edge(const DepthwiseLine& line, int64_t patch, const float* grad) {
  const float* x = line.x + patch * line.step * line.channels;
  for (int64_t t = 0; t < line.tap_count; t++) {
    const DepthwiseTap& tap = line.taps[t];
    if (!inside(line, patch, tap.dx)) continue;
    for (int64_t c = 0; c < line.channels; c += VL) {
      const int lanes = int(line.channels - c < VL ? line.channels - c : VL);
      const vf sum = load_some(tap.weight_grad + c, lanes);
      store_some(tap.weight_grad + c, fma(load_some(x + tap.offset + c, lanes), load_some(grad + c, lanes), sum), lanes);
    }
  }
}

extern void depthwise_line_weights(const DepthwiseLine& line, const float* grad);
void depthwise_line_weights(const DepthwiseLine& line, const float* grad) {
  for (int64_t patch = 0; patch < line.full_begin; patch++) add_edge(line, patch, grad + patch * line.channels);
  for (int64_t patch = line.full_end; patch < line.count; patch++) add_edge(line, patch, grad + patch * line.channels);
  if (line.full_begin == line.full_end) return;
  int64_t t = 0;
  for (; t + TAPS <= line.tap_count; t += TAPS) add_full_channels<TAPS>(line, line.taps + t, grad);
  for (; t + 3 <= line.tap_count; t += 3) add_full_channels<3>(line, line.taps + t, grad);
  for (; t < line.tap_count; t++) add_full_channels<1>(line, line.taps + t, grad);
}

}  // namespace COOLNN_ISA
}  // namespace coolnn
