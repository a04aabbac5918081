#include "kernels/conv_pooled_lanes.h"

#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

constexpr int MOST_OUTPUTS = REGISTERS == 32 ? 6 : 3;   // times 4 pixels are summed in registers
constexpr int MOST_CHANNELS = REGISTERS == 32 ? 6 : 3;  // likewise
constexpr int MOST_ROWS = 6;                            // of a column of weights, times outputs, likewise
#if defined(__AVX512F__)
constexpr int OUTPUTS = 3;  // each takes two of the seven registers for choices
#else
constexpr int OUTPUTS = REGISTERS == 32 ? 2 : 1;
#endif

template <int HEIGHT>
static void multiply_window(const PooledProduct& p, const float* x, const float* weights, int64_t output, int32_t pixel,
                            float* y, int32_t* pixels) {
  const float* const at[4] = {x, x + p.pixel, x + p.line, x + p.line + p.pixel};
  vf sum[HEIGHT][4];
#pragma GCC unroll 6
  for (int o = 0; o < HEIGHT; o++)
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) sum[o][i] = p.bias != nullptr ? broadcast(p.bias[output + o]) : zero();
  for (int64_t k = 0; k < p.depth; k++, weights += HEIGHT) {
    const int64_t offset = p.depth_offsets[k];
    vf value[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) value[i] = load(at[i] + offset);
#pragma GCC unroll 6
    for (int o = 0; o < HEIGHT; o++) {
      const vf weight = broadcast(weights[o]);
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) sum[o][i] = fma(weight, value[i], sum[o][i]);
    }
  }
  const vf low = broadcast(p.low), high = broadcast(p.high);
  const int32_t steps[4] = {0, 1, int32_t(p.width), int32_t(p.width) + 1};
#pragma GCC unroll 6
  for (int o = 0; o < HEIGHT; o++) {
    vf best = min(high, max(low, sum[o][0]));
    vi where = {};
#pragma GCC unroll 3
    for (int i = 1; i < 4; i++) {
      const vf value = min(high, max(low, sum[o][i]));
      const vi take = (value > best) | (value != value);  // the first largest wins, and NaN over what came before
      best = select(take, value, best);
      where = take ? broadcast_int(steps[i]) : where;
    }
    store(y + (output + o) * VL, best);
    if (pixels != nullptr) store_int(pixels + (output + o) * VL, where + pixel);
  }
}

static void multiply(const PooledProduct& p) {
  for (int64_t window = 0; window < p.rows * p.columns; window++) {
    const int64_t row = window / p.columns, column = window % p.columns;
    const float* x = p.x + 2 * (row * p.line + column * p.pixel);
    const int32_t pixel = int32_t(2 * ((p.first_row + row) * p.width + column));
    float* y = p.y + window * p.outputs * VL;
    int32_t* pixels = p.pixels == nullptr ? nullptr : p.pixels + window * p.outputs * VL;
    const float* weights = p.weights;
    for (int64_t output = 0; output < p.outputs; output += p.height) {
      const int64_t height = p.outputs - output < p.height ? p.outputs - output : p.height;
      switch (height) {
        case 1: multiply_window<1>(p, x, weights, output, pixel, y, pixels); break;
        case 2: multiply_window<2>(p, x, weights, output, pixel, y, pixels); break;
        case 3: multiply_window<3>(p, x, weights, output, pixel, y, pixels); break;
        case 4: multiply_window<4 <= MOST_OUTPUTS ? 4 : 1>(p, x, weights, output, pixel, y, pixels); break;
        case 5: multiply_window<5 <= MOST_OUTPUTS ? 5 : 1>(p, x, weights, output, pixel, y, pixels); break;
        case 6: multiply_window<6 <= MOST_OUTPUTS ? 6 : 1>(p, x, weights, output, pixel, y, pixels); break;
      }
      weights += height * p.depth;
    }
  }
}

static void prepare(const PooledGradient& g) {
  for (int64_t row = 0; row < g.rows; row++)
    for (int64_t column = 0; column < g.columns; column++) {
      const int64_t at = (row * g.columns + column) * g.channels * VL;
      const vi corner = broadcast_int(int32_t(2 * (g.first_row + row) * g.width + 2 * column));
      const vi width = broadcast_int(int32_t(g.width));
      for (int64_t i = at; i < at + g.channels * VL; i += VL) {
        const vi pixel = load_int(g.places + i) - corner;
        const vi lower = pixel >= width;
        store_int(g.places + i, pixel - (lower & (width - 2)));
        if (g.y != nullptr) store(g.grad + i, select(load(g.y + i) > zero(), load(g.grad + i), zero()));
      }
    }
}

static void sum_bias(const float* grad, int64_t windows, int64_t channels, float* sums) {
  for (int64_t w = 0; w < windows; w++)
    for (int64_t i = 0; i < channels * VL; i += VL) store(sums + i, load(sums + i) + load(grad + w * channels * VL + i));
}

// ROWS x 1 weights of some outputs. The numbers that the windows' pixels see are chosen lane by lane: first between
// neighbouring columns, then between lines.
template <int ROWS, int OUT> static void add_column(const PooledWeights& w, const float* x, float* sums) {
  vf sum[ROWS][OUT];
#pragma GCC unroll 6
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 3
    for (int o = 0; o < OUT; o++) sum[r][o] = load(sums + o * w.output + r * w.kw * VL);
  const float* grad = w.grad;
  const int32_t* places = w.places;
  const int64_t line = w.line, pixel = w.pixel, step = w.channels * VL;
  for (int64_t row = 0; row < w.rows; row++, x += 2 * line) {
    const float* at = x;
    for (int64_t column = 0; column < w.columns; column++, at += 2 * pixel, grad += step, places += step) {
      Choice right[OUT], lower[OUT];
      vf value[OUT], above[OUT];
#pragma GCC unroll 3
      for (int o = 0; o < OUT; o++) {
        const vi place = load_int(places + o * VL);
        right[o] = choice_by<0>(place), lower[o] = choice_by<1>(place);
        value[o] = load(grad + o * VL);
      }
#pragma GCC unroll 7
      for (int r = 0; r <= ROWS; r++) {
        const vf here = held(load(at + r * line)), next = held(load(at + r * line + pixel));
#pragma GCC unroll 3
        for (int o = 0; o < OUT; o++) {
          const vf seen = choose(right[o], next, here);
          if (r > 0) sum[r - 1][o] = fma(value[o], choose(lower[o], seen, above[o]), sum[r - 1][o]);
          above[o] = seen;
        }
      }
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 3
    for (int o = 0; o < OUT; o++) store(sums + o * w.output + r * w.kw * VL, sum[r][o]);
}

template <int OUT> static void add_outputs(const PooledWeights& w) {
  const int64_t blocks = (w.kh + MOST_ROWS - 1) / MOST_ROWS;
  for (int64_t block = 0; block < blocks; block++) {
    const int64_t ky = w.kh * block / blocks, rows = w.kh * (block + 1) / blocks - ky;
    for (int64_t kx = 0; kx < w.kw; kx++) {
      const float* x = w.x + ky * w.line + kx * w.pixel;
      float* sums = w.sums + (ky * w.kw + kx) * VL;
      switch (rows) {
        case 1: add_column<1, OUT>(w, x, sums); break;
        case 2: add_column<2, OUT>(w, x, sums); break;
        case 3: add_column<3, OUT>(w, x, sums); break;
        case 4: add_column<4, OUT>(w, x, sums); break;
        case 5: add_column<5, OUT>(w, x, sums); break;
        case 6: add_column<6, OUT>(w, x, sums); break;
      }
    }
  }
}

static void add_weights(const PooledWeights& all) {
  PooledWeights w = all;
  int64_t o = 0;
  const auto advance = [&](int64_t by) {
    o += by;
    w.grad += by * VL, w.places += by * VL, w.sums += by * w.output;
  };
  for (; o + OUTPUTS <= w.channels; advance(OUTPUTS)) add_outputs<OUTPUTS>(w);
  for (; o < w.channels; advance(1)) add_outputs<1>(w);
}

static void pack_filters(const PooledFilters& f, int64_t block_row) {
  const int64_t row_floats = f.block_columns() * f.outputs * 4 * f.channels * 4;
  for (int64_t block = 0; block < f.blocks(); block++) {
    float* to = f.filters + (block * f.block_rows() + block_row) * row_floats;
    for (int64_t block_column = 0; block_column < f.block_columns(); block_column++)
      for (int64_t o = 0; o < f.outputs; o++)
        for (int pixel = 0; pixel < 4; pixel++, to += f.channels * 4)
          for (int place = 0; place < 4; place++) {
            const int64_t ky = 2 * block_row + pixel / 2 - place / 2, kx = 2 * block_column + pixel % 2 - place % 2;
            const bool inside = ky >= 0 && ky < f.kh && kx >= 0 && kx < f.kw;
            const float* from = f.weight + ((o * f.kh + ky) * f.kw + kx) * f.inputs + f.first_channel(block);
            for (int64_t c = 0; c < f.channels; c++) to[c * 4 + place] = inside ? from[c] : 0.0f;
          }
  }
}

template <int CHANNELS> static void add_block(const PooledInput& in) {
  vf sum[4][CHANNELS];
#pragma GCC unroll 4
  for (int p = 0; p < 4; p++)
#pragma GCC unroll 6
    for (int c = 0; c < CHANNELS; c++) sum[p][c] = zero();
  for (int64_t row = in.rows_from; row < in.rows_to; row++)
    for (int64_t column = in.columns_from; column < in.columns_to; column++) {
      const float* grad = in.grad - row * in.row - column * in.column;
      const int32_t* places = in.places - row * in.row - column * in.column;
      const float* filter = in.filters + row * in.filter_row + column * in.filter_column;
      for (int64_t o = 0; o < in.outputs; o++, grad += VL, places += VL) {
        const vf value = load(grad);
        vi place[VL / 4];  // in a table that holds the numbers of several weights
#pragma GCC unroll 4
        for (int i = 0; i < VL / 4; i++) place[i] = load_int(places) + 4 * i;
#pragma GCC unroll 24
        for (int i = 0; i < 4 * CHANNELS; i++)
          sum[i / CHANNELS][i % CHANNELS] = fma(value, look_up(filter + i / (VL / 4) * VL, place[i % (VL / 4)]),
                                                sum[i / CHANNELS][i % CHANNELS]);
        filter += 16 * CHANNELS;
      }
    }
#pragma GCC unroll 4
  for (int p = 0; p < 4; p++)
#pragma GCC unroll 6
    for (int c = 0; c < CHANNELS; c++) store(in.dx + p / 2 * in.line + p % 2 * in.pixel + c * VL, sum[p][c]);
}

static void add_input(const PooledInput& in) {
  switch (in.channels) {
    case 1: return add_block<1>(in);
    case 2: return add_block<2>(in);
    case 3: return add_block<3>(in);
    case 4: return add_block<4 <= MOST_CHANNELS ? 4 : 1>(in);
    case 5: return add_block<5 <= MOST_CHANNELS ? 5 : 1>(in);
    case 6: return add_block<6 <= MOST_CHANNELS ? 6 : 1>(in);
  }
}

extern const PooledLanesTable pooled_lanes_table;
const PooledLanesTable pooled_lanes_table = {MOST_OUTPUTS, multiply,    MOST_CHANNELS, prepare,
                                             sum_bias,     add_weights, pack_filters,  add_input};

}  // namespace COOLNN_ISA
}  // namespace coolnn
