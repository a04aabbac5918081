// Winograd's two-dimensional transforms of tiles and weights; the products are in winograd_product.cpp.
#include "kernels/winograd.h"

#include "kernels/winograd_product.h"
#include "kernels/winograd_transform.h"
#include "winograd_points.h"

// Lambdas have no other place for this attribute, and a call would spill all vectors.
#define INLINE_LAMBDA __attribute__((always_inline))

namespace coolnn {
namespace COOLNN_ISA {

constexpr int BLOCK = WINOGRAD_BLOCK;
alignas(64) static const float ZEROS[BLOCK] = {};

// A vector's worth of channels at every place of an N x N patch. Three ways to come by them:
// inside of the picture,
template <int N> struct InnerPatch {
  const float* corner;
  int64_t row_stride, column_stride;
  INLINE vf at(int i, int j, int64_t channel) const {
    return load(corner + i * row_stride + j * column_stride + channel);
  }
};
// across its border, where places outside read zeros,
template <int N> struct BorderPatch {
  const float* place[N * N];
  int64_t inside[N * N];  // all ones, or none
  INLINE vf at(int i, int j, int64_t channel) const {
    return load(place[i * N + j] + (channel & inside[i * N + j]));
  }
};
// and in the last channels, where less than a vector is left.
template <int N> struct PartialPatch {
  const BorderPatch<N>& border;
  int lanes;
  INLINE vf at(int i, int j, int64_t channel) const {
    const int64_t inside = border.inside[i * N + j];
    return load_partial(border.place[i * N + j] + (channel & inside), inside ? lanes : 0);
  }
};

template <int N> static void find_border(const WinogradPicture& p, int64_t top, int64_t left, BorderPatch<N>& patch) {
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) {
      const int64_t y = top + i, x = left + j;
      const bool inside = y >= 0 && y < p.height && x >= 0 && x < p.width;
      patch.place[i * N + j] = inside ? p.pixels + (y * p.width + x) * p.channels : ZEROS;
      patch.inside[i * N + j] = inside ? -1 : 0;
    }
}

// M d MT of one vector of channels: M::COLUMNS squared places in, M::ROWS squared out.
template <class M, class Patch>
static INLINE void spread(const Patch& patch, int64_t channel, float* to, ptrdiff_t point_stride, bool streaming) {
  constexpr int N = M::COLUMNS;
  vf half[M::ROWS][N];
#pragma GCC unroll 8
  for (int j = 0; j < N; j++) {
    vf column[N], result[M::ROWS];
#pragma GCC unroll 8
    for (int i = 0; i < N; i++) column[i] = patch.at(i, j, channel);
    paired_rows<M>(column, result);
#pragma GCC unroll 8
    for (int i = 0; i < M::ROWS; i++) half[i][j] = result[i];
  }
#pragma GCC unroll 8
  for (int i = 0; i < M::ROWS; i++) {
    vf result[M::ROWS];
    paired_rows<M>(half[i], result);
#pragma GCC unroll 8
    for (int j = 0; j < M::ROWS; j++) {
      put(to + (i * M::ROWS + j) * point_stride, result[j], streaming);
    }
  }
}

// The transform of all channels of a patch; M is BT (for inputs) or A (for gradients of outputs). `STEP` is how far the
// next patch lies to the right: its new columns are fetched while this one is computed.
template <class M, int STEP, bool STREAMING>
static void spread_tile(const WinogradPicture& p, int64_t top, int64_t left, float* to, ptrdiff_t point_stride,
                        ptrdiff_t block_stride) {
  constexpr int N = M::COLUMNS;
  const int64_t row_stride = p.width * p.channels, whole = p.channels / VL * VL;
  const bool inner = top >= 0 && left >= 0 && top + N <= p.height && left + N <= p.width;
  const InnerPatch<N> patch = {p.pixels + top * row_stride + left * p.channels, row_stride, p.channels};
  BorderPatch<N> border;
  if (!inner || whole < p.channels) find_border<N>(p, top, left, border);
  if (inner) {
    for (int64_t c = 0; c < whole; c += VL) {
      if (c % BLOCK == 0) {
        const float* next = patch.corner + N * p.channels + c;
#pragma GCC unroll 8
        for (int i = 0; i < N; i++)
#pragma GCC unroll 8
          for (int j = 0; j < STEP; j++) prefetch(next + i * row_stride + j * p.channels);
      }
      spread<M>(patch, c, to + c / BLOCK * block_stride + c % BLOCK, point_stride, STREAMING);
    }
  } else {
    for (int64_t c = 0; c < whole; c += VL)
      spread<M>(border, c, to + c / BLOCK * block_stride + c % BLOCK, point_stride, STREAMING);
  }
  // The rest of the last block: the last channels, then zeros.
  for (int64_t c = whole; c % BLOCK != 0 || c < p.channels; c += VL) {
    const int lanes = c < p.channels ? int(p.channels - c) : 0;
    const PartialPatch<N> patch_of_lanes = {border, lanes};
    spread<M>(patch_of_lanes, lanes ? c : 0, to + c / BLOCK * block_stride + c % BLOCK, point_stride, STREAMING);
  }
}

template <class M, int STEP>
static void spread_tile(const WinogradPicture& picture, int64_t top, int64_t left, float* to, ptrdiff_t point_stride,
                        ptrdiff_t block_stride, bool streaming) {
  if (VL == BLOCK && streaming) {
    spread_tile<M, STEP, true>(picture, top, left, to, point_stride, block_stride);
    stream_fence();
  } else {
    spread_tile<M, STEP, false>(picture, top, left, to, point_stride, block_stride);
  }
}

// AT m A of one vector of channels; `put(i, j, value)` takes the results.
template <class F, class Put> static INLINE void gather(const float* from, ptrdiff_t point_stride, const Put& put) {
  using M = OutputMatrix<F>;
  constexpr int N = F::POINTS;
  vf half[F::OUTPUTS][N];
#pragma GCC unroll 8
  for (int j = 0; j < N; j++) {
    vf column[N], result[F::OUTPUTS];
#pragma GCC unroll 8
    for (int i = 0; i < N; i++) column[i] = load(from + (i * N + j) * point_stride);
    paired_columns<M>(column, result);
#pragma GCC unroll 8
    for (int i = 0; i < F::OUTPUTS; i++) half[i][j] = result[i];
  }
#pragma GCC unroll 8
  for (int i = 0; i < F::OUTPUTS; i++) {
    vf result[F::OUTPUTS];
    paired_columns<M>(half[i], result);
#pragma GCC unroll 8
    for (int j = 0; j < F::OUTPUTS; j++) put(i, j, result[j]);
  }
}

// max that keeps NaN, as pooling does.
static INLINE vf pooled(vf a, vf b) { return select(a == a, max(a, b), a); }

// One vector of channels of a tile to the places of the picture that it has: all OUTPUTS squared, or fewer at its border.
template <class F, bool STREAMING>
static INLINE void write_tile(const float* from, ptrdiff_t point_stride, const WinogradTarget& target, int64_t channel,
                              int lanes, int64_t top, int64_t left) {
  constexpr int N = F::OUTPUTS;
  const int rows = target.height - top < N ? int(target.height - top) : N;
  const int columns = target.width - left < N ? int(target.width - left) : N;
  const bool whole = lanes == VL;
  const vf shift = target.bias == nullptr ? zero()
                   : whole                ? load(target.bias + channel)
                                          : load_partial(target.bias + channel, lanes);
  const vf low = broadcast(target.low), high = broadcast(target.high);
  const int64_t pixel = target.channels, line = target.width * pixel;
  const float* const added = target.residual ? target.residual + top * line + left * pixel + channel : nullptr;
  const auto write = [&](float* to, vf value) INLINE_LAMBDA {
    if (STREAMING) stream(to, value);
    else if (whole) store(to, value);
    else store_partial(to, value, lanes);
  };
  vf result[N][N];
  gather<F>(from, point_stride, [&](int i, int j, vf value) INLINE_LAMBDA {
    value += shift;
    if (added != nullptr && i < rows && j < columns) {
      const float* const other = added + i * line + j * pixel;
      value += whole ? load(other) : load_partial(other, lanes);
    }
    value = min(high, max(low, value));
    if (target.pool) result[i][j] = value;
    else if (i < rows && j < columns) write(target.pixels + (top + i) * line + (left + j) * pixel + channel, value);
  });
  if (!target.pool) return;
  const int64_t pooled_line = target.width / 2 * pixel;
#pragma GCC unroll 2
  for (int i = 0; i < N / 2; i++)
#pragma GCC unroll 2
    for (int j = 0; j < N / 2; j++)
      if (2 * i + 1 < rows && 2 * j + 1 < columns)
        write(target.pixels + (top / 2 + i) * pooled_line + (left / 2 + j) * pixel + channel,
              pooled(pooled(result[2 * i][2 * j], result[2 * i][2 * j + 1]),
                     pooled(result[2 * i + 1][2 * j], result[2 * i + 1][2 * j + 1])));
}

template <class F>
static void output_tile(const float* from, ptrdiff_t point_stride, ptrdiff_t block_stride, const WinogradTarget& target,
                        int64_t first, int64_t channels, int64_t top, int64_t left) {
  for (int64_t c = 0; c < channels; c += VL) {
    const float* const source = from + c / BLOCK * block_stride + c % BLOCK;
    const int lanes = channels - c < VL ? int(channels - c) : VL;
    if (VL == BLOCK && target.stream) write_tile<F, true>(source, point_stride, target, first + c, VL, top, left);
    else write_tile<F, false>(source, point_stride, target, first + c, lanes, top, left);
  }
  if (target.stream) stream_fence();
}

// Row I of G w GT for one vector of output channels; tap[9] are the weights.
template <class F, int I> static INLINE void weight_row(const vf* tap, float* to, ptrdiff_t point_stride) {
  using M = WeightMatrix<F>;
  vf row[3], result[F::POINTS];
#pragma GCC unroll 3
  for (int j = 0; j < 3; j++) {
    const vf column[3] = {tap[j], tap[3 + j], tap[6 + j]};
    row[j] = dot<M, I>(column);
  }
  paired_rows<M>(row, result);
#pragma GCC unroll 8
  for (int j = 0; j < F::POINTS; j++) store(to + j * point_stride, result[j]);
}

constexpr int AHEAD = 8;  // channels that weights are fetched ahead

template <class F, int I>
static void weight_rows(const float* packed, int64_t channels, int columns, int row, int rows, float* to,
                        ptrdiff_t point_stride) {
  if constexpr (I < F::POINTS) {
    if (I >= row && I < row + rows) {
      float* const target = to + (I - row) * F::POINTS * point_stride;
      for (int64_t c = 0; c < channels; c++)
        for (int k = 0; k < columns; k += VL) {
          vf tap[9];
#pragma GCC unroll 9
          for (int t = 0; t < 9; t++) {
            tap[t] = load(packed + (c * 9 + t) * columns + k);
            prefetch(packed + ((c + AHEAD) * 9 + t) * columns + k);
          }
          weight_row<F, I>(tap, target + c * columns + k, point_stride);
        }
    }
    weight_rows<F, I + 1>(packed, channels, columns, row, rows, to, point_stride);
  }
}
template <class F>
static void transform_weights(const float* packed, int64_t channels, int columns, int row, int rows, float* to,
                              ptrdiff_t point_stride) {
  weight_rows<F, 0>(packed, channels, columns, row, rows, to, point_stride);
}

template <class F>
static void weight_gradient(const float* from, ptrdiff_t point_stride, float* to, ptrdiff_t tap_stride,
                            int64_t channels) {
  using M = Transposed<WeightMatrix<F>>;
  constexpr int N = F::POINTS;
  for (int64_t c = 0; c < channels; c += VL) {
    vf half[3][N];
#pragma GCC unroll 8
    for (int j = 0; j < N; j++) {
      vf column[N], result[3];
#pragma GCC unroll 8
      for (int i = 0; i < N; i++) column[i] = load(from + (i * N + j) * point_stride + c);
      paired_columns<M>(column, result);
#pragma GCC unroll 3
      for (int i = 0; i < 3; i++) half[i][j] = result[i];
    }
    const int lanes = channels - c < VL ? int(channels - c) : VL;
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++) {
      vf result[3];
      paired_columns<M>(half[i], result);
#pragma GCC unroll 3
      for (int j = 0; j < 3; j++) {
        float* const target = to + (i * 3 + j) * tap_stride + c;
        if (lanes == VL) store(target, result[j]);
        else store_partial(target, result[j], lanes);
      }
    }
  }
}

template <class F> constexpr WinogradTransforms transforms() {
  return {F::OUTPUTS,
          F::POINTS,
          spread_tile<InputMatrix<F>, F::OUTPUTS>,
          spread_tile<Transposed<OutputMatrix<F>>, F::OUTPUTS>,
          output_tile<F>,
          transform_weights<F>,
          weight_gradient<F>};
}

extern const WinogradTable winograd_table;
const WinogradTable winograd_table = {
    transforms<WinogradF4>(), transforms<WinogradF2>(), PANEL_COLUMNS, PANEL_ROWS,
    pack_weights,             multiply,                 accumulate,
};

}  // namespace COOLNN_ISA
}  // namespace coolnn
