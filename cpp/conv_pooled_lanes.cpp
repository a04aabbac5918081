// A convolution with few channels, a relu and max-pooling over 2 x 2 pixels, with a picture in each lane. Forward, the
// four pixels of a window are summed in registers and only the largest is written. Backward, only this one of the four has
// a gradient, another one in each lane: a quarter of the multiply-adds. Nothing of the full size ever exists.
#include <algorithm>
#include <cmath>

#include "conv_backward.h"
#include "gemm.h"
#include "isa.h"
#include "parallel.h"
#include "rounding.h"

namespace coolnn {
namespace {

constexpr int64_t FORWARD_CHUNKS = 8, BACKWARD_CHUNKS = 4;  // wanted; each of the latter has sums that are joined
constexpr int64_t MOST_FLOATS = 1 << 18;  // of a chunk in lanes: it stays in the second-level cache

struct Rows {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// Part i of n nearly equal parts.
Rows part(int64_t i, int64_t n, int64_t total) { return {total * i / n, total * (i + 1) / n}; }

// A group of pictures, the windows whose gradients a chunk adds up, and the rows of 2 x 2 blocks of the input's gradient
// that it makes, for which it looks at more windows.
struct Chunk {
  int64_t first_picture, pictures;
  Rows windows, blocks, seen;
};

int64_t x_width(const ConvShape& c, int64_t columns) { return 2 * columns + c.kw - 1; }  // in lanes
int64_t x_floats(const ConvShape& c, int64_t columns, const Chunk& k) {
  return (2 * k.windows.size() + c.kh - 1) * x_width(c, columns) * c.ic * isa().vector_floats;
}

// The lines that a chunk's own windows see, with the padding, in lanes.
void load_x(const ConvShape& c, int64_t windows, const Chunk& k, const float* pictures, float* to) {
  const int64_t width = x_width(c, windows), pixel = c.ic * isa().vector_floats, line = width * pixel;
  const int64_t first = 2 * k.windows.begin - c.pt, count = 2 * k.windows.size() + c.kh - 1;
  const int64_t columns = std::min(c.iw, width - c.pl);
  const int64_t begin = std::clamp<int64_t>(-first, 0, count);
  const int64_t end = std::clamp<int64_t>(c.ih - first, begin, count);
  if (begin > 0 || end < count || c.pl > 0 || c.pl + columns < width) std::fill(to, to + count * line, 0.0f);
  if (begin == end || columns <= 0) return;
  isa().conv.batch_lanes.to_lanes({c.ih * c.iw * c.ic, k.pictures, c.iw * c.ic, columns * c.ic, line, end - begin},
                                  pictures + (k.first_picture * c.ih + first + begin) * c.iw * c.ic,
                                  to + begin * line + c.pl * pixel);
}

class PooledLanesForward final : public Kernel {
 public:
  PooledLanesForward(const ConvShape& shape, bool indices)
      : c_(shape), rows_(shape.oh / 2), columns_(shape.ow / 2), lanes_(isa().vector_floats), indices_(indices),
        table_(isa().conv.pooled_lanes), turn_(isa().conv.batch_lanes) {
    groups_ = ceil_div(c_.n, lanes_);
    bands_ = std::clamp<int64_t>(FORWARD_CHUNKS / groups_, 1, rows_);
    height_ = ceil_div(c_.oc, ceil_div(c_.oc, table_.most_outputs));
    for (int64_t ky = 0; ky < c_.kh; ky++)
      for (int64_t i = 0; i < c_.kw * c_.ic; i++) depth_.push_back((ky * x_width(c_, columns_) * c_.ic + i) * lanes_);
    workspace_bytes = size_t(c_.oc) * depth_.size() * sizeof(float);
    algorithm = "pooled_lanes";
  }

  void run(const Arguments& a) const override {
    float* const weights = static_cast<float*>(a.workspace);
    pack_weights(a.in(1), weights);
    parallel_for(groups_ * bands_, [&](int64_t number, int) {
      Chunk k = {};
      k.first_picture = number / bands_ * lanes_, k.pictures = std::min(lanes_, c_.n - k.first_picture);
      k.windows = part(number % bands_, bands_, rows_);
      run_chunk(a, k, weights);
    });
  }

 private:
  void pack_weights(const float* weight, float* to) const {
    const int64_t depth = int64_t(depth_.size());
    for (int64_t first = 0; first < c_.oc; first += height_)
      for (int64_t i = 0; i < depth; i++)
        for (int64_t o = first; o < std::min(first + height_, c_.oc); o++) *to++ = weight[o * depth + i];
  }

  void run_chunk(const Arguments& a, const Chunk& k, const float* weights) const {
    const int64_t row = columns_ * c_.oc, count = k.windows.size() * row;
    const int64_t read = x_floats(c_, columns_, k);
    float* const x = thread_scratch(size_t(read + 2 * count * lanes_));
    float* const y = x + read;
    int32_t* const pixels = indices_ ? reinterpret_cast<int32_t*>(y + count * lanes_) : nullptr;
    load_x(c_, columns_, k, a.in(0), x);
    PooledProduct p = {};
    p.x = x, p.pixel = c_.ic * lanes_, p.line = x_width(c_, columns_) * p.pixel;
    p.depth_offsets = depth_.data(), p.depth = int64_t(depth_.size());
    p.weights = weights, p.outputs = c_.oc, p.height = height_, p.bias = a.in(2);
    p.low = c_.finish.low, p.high = c_.finish.high;
    p.first_row = k.windows.begin, p.rows = k.windows.size(), p.columns = columns_, p.width = c_.ow;
    p.y = y, p.pixels = pixels;
    table_.multiply(p);
    const LaneLines lines = {rows_ * row, k.pictures, count, count, count * lanes_, 1};
    const int64_t to = (k.first_picture * rows_ + k.windows.begin) * row;
    turn_.from_lanes(lines, y, a.out(0) + to);
    if (indices_) turn_.from_lanes(lines, reinterpret_cast<const float*>(pixels), a.out(1) + to);
  }

  const ConvShape c_;
  const int64_t rows_, columns_, lanes_;  // windows of a picture
  const bool indices_;
  const PooledLanesTable& table_;
  const BatchLanesTable& turn_;
  int64_t groups_, bands_, height_;
  std::vector<int64_t> depth_;
};

class PooledLanesBackward final : public Kernel {
 public:
  explicit PooledLanesBackward(const ConvBackwardShape& shape)
      : s_(shape), c_(shape.conv), lanes_(isa().vector_floats), table_(isa().conv.pooled_lanes),
        turn_(isa().conv.batch_lanes), sum_(isa().gemm.sum_partials) {
    groups_ = ceil_div(c_.n, lanes_);
    bands_ = std::clamp<int64_t>(BACKWARD_CHUNKS / groups_, 1, s_.gh);
    blocks_h_ = std::max(s_.gh + c_.kh / 2, ceil_div(c_.pt + c_.ih, 2));
    blocks_w_ = std::max(s_.gw + c_.kw / 2, ceil_div(c_.pl + c_.iw, 2));
    filters_.outputs = c_.oc, filters_.kh = c_.kh, filters_.kw = c_.kw, filters_.inputs = c_.ic;
    filters_.channels = ceil_div(c_.ic, ceil_div(c_.ic, table_.most_channels));
    workspace_bytes = size_t(filter_floats() + groups_ * bands_ * partial_floats()) * sizeof(float);
    algorithm = "pooled_lanes";
  }

  void run(const Arguments& a) const override {
    float* const filters = static_cast<float*>(a.workspace);
    float* const partials = filters + filter_floats();
    if (s_.dx >= 0) {
      PooledFilters packed = filters_;
      packed.weight = a.in(BACKWARD_WEIGHT), packed.filters = filters;
      parallel_for(packed.block_rows(), [&](int64_t row, int) { table_.pack_filters(packed, row); });
    }
    const int64_t chunks = groups_ * bands_;
    parallel_for(chunks, [&](int64_t i, int) { run_chunk(a, chunk(i), filters, partials + i * partial_floats()); });
    sum_(partials, partial_floats(), chunks, partials, partial_floats());
    if (s_.dweight >= 0) write_weights(partials, a.out(s_.dweight));
    if (s_.dbias >= 0) std::copy_n(partials + c_.oc * c_.ic * taps(), c_.oc, a.out(s_.dbias));
  }

 private:
  int64_t taps() const { return c_.kh * c_.kw; }
  int64_t partial_floats() const { return c_.oc * (c_.ic * taps() + 1); }  // [output][input][kh][kw], then the bias
  int64_t filter_row() const { return filters_.block_columns() * filter_column(); }
  int64_t filter_column() const { return c_.oc * 4 * filters_.channels * 4; }
  int64_t filter_floats() const {
    return s_.dx < 0 ? 0 : filters_.blocks() * filters_.block_rows() * filter_row();
  }

  Chunk chunk(int64_t number) const {
    Chunk k;
    k.first_picture = number / bands_ * lanes_;
    k.pictures = std::min(lanes_, c_.n - k.first_picture);
    k.windows = part(number % bands_, bands_, s_.gh);
    k.blocks = s_.dx < 0 ? Rows{0, 0} : part(number % bands_, bands_, blocks_h_);
    k.seen = k.windows;
    if (s_.dx >= 0) {
      k.seen.begin = std::clamp<int64_t>(k.blocks.begin - c_.kh / 2, 0, k.windows.begin);
      k.seen.end = std::max(k.windows.end, std::min(k.blocks.end, s_.gh));
    }
    return k;
  }

  void run_chunk(const Arguments& a, const Chunk& k, const float* filters, float* partial) const {
    const int64_t windows = k.seen.size() * s_.gw * c_.oc * lanes_;
    const int64_t read = s_.dweight < 0 ? 0 : x_floats(c_, s_.gw, k);
    const int64_t dx_floats = 4 * k.blocks.size() * blocks_w_ * c_.ic * lanes_;
    float* const grad = thread_scratch(size_t(3 * windows + read + dx_floats + partial_floats() * lanes_));
    float* const y = grad + windows;
    int32_t* const places = reinterpret_cast<int32_t*>(y + windows);
    float* const x = y + 2 * windows;
    float* const dx = x + read;
    float* const sums = dx + dx_floats;

    load_windows(k, a.in(BACKWARD_GRAD), grad);
    if (s_.masked) load_windows(k, a.in(BACKWARD_Y), y);
    load_windows(k, a.in(BACKWARD_INDICES), reinterpret_cast<float*>(places));
    table_.prepare({grad, s_.masked ? y : nullptr, places, k.seen.begin, k.seen.size(), s_.gw, c_.oc, c_.ow});

    std::fill(sums, sums + partial_floats() * lanes_, 0.0f);
    const int64_t own = (k.windows.begin - k.seen.begin) * s_.gw * c_.oc * lanes_;
    if (s_.dweight >= 0) {
      load_x(c_, s_.gw, k, a.in(BACKWARD_X), x);
      add_weights(k, x, grad + own, places + own, sums);
    }
    if (s_.dbias >= 0)
      table_.sum_bias(grad + own, k.windows.size() * s_.gw, c_.oc, sums + c_.oc * c_.ic * taps() * lanes_);
    turn_.sum_lanes(sums, partial_floats(), partial);
    if (s_.dx >= 0) {
      make_dx(k, grad, places, filters, dx);
      store_dx(k, dx, a.out(s_.dx));
    }
  }

  void load_windows(const Chunk& k, const float* pictures, float* to) const {
    const int64_t row = s_.gw * c_.oc, count = k.seen.size() * row;
    turn_.to_lanes({s_.gh * row, k.pictures, count, count, count * lanes_, 1},
                   pictures + (k.first_picture * s_.gh + k.seen.begin) * row, to);
  }

  // One channel of x after the other: it stays in the first-level cache.
  void add_weights(const Chunk& k, const float* x, const float* grad, const int32_t* places, float* sums) const {
    PooledWeights w = {};
    w.pixel = c_.ic * lanes_, w.line = x_width(c_, s_.gw) * w.pixel;
    w.rows = k.windows.size(), w.columns = s_.gw, w.channels = c_.oc, w.kh = c_.kh, w.kw = c_.kw;
    w.grad = grad, w.places = places, w.output = c_.ic * taps() * lanes_;
    for (int64_t i = 0; i < c_.ic; i++) {
      w.x = x + i * lanes_, w.sums = sums + i * taps() * lanes_;
      table_.add_weights(w);
    }
  }

  void make_dx(const Chunk& k, const float* grad, const int32_t* places, const float* filters, float* dx) const {
    PooledInput in = {};
    in.column = c_.oc * lanes_, in.row = s_.gw * in.column, in.outputs = c_.oc;
    in.filter_row = filter_row(), in.filter_column = filter_column(), in.channels = filters_.channels;
    in.pixel = c_.ic * lanes_, in.line = 2 * blocks_w_ * in.pixel;
    for (int64_t block = 0; block < filters_.blocks(); block++) {
      in.filters = filters + block * filters_.block_rows() * in.filter_row;
      for (int64_t row = k.blocks.begin; row < k.blocks.end; row++)
        for (int64_t column = 0; column < blocks_w_; column++) {
          in.rows_from = std::max<int64_t>(0, row - s_.gh + 1), in.rows_to = std::min(row, c_.kh / 2) + 1;
          in.columns_from = std::max<int64_t>(0, column - s_.gw + 1), in.columns_to = std::min(column, c_.kw / 2) + 1;
          const int64_t window = (row - k.seen.begin) * in.row + column * in.column;
          in.grad = grad + window, in.places = places + window;
          in.dx = dx + 2 * (row - k.blocks.begin) * in.line + 2 * column * in.pixel + filters_.first_channel(block) * lanes_;
          table_.add_input(in);
        }
    }
  }

  // Without the padding.
  void store_dx(const Chunk& k, const float* from, float* pictures) const {
    const int64_t line = 2 * blocks_w_ * c_.ic * lanes_;
    const int64_t begin = std::clamp(2 * k.blocks.begin - c_.pt, int64_t(0), c_.ih);
    const int64_t end = std::clamp(2 * k.blocks.end - c_.pt, int64_t(0), c_.ih);
    if (begin == end) return;
    turn_.from_lanes({c_.ih * c_.iw * c_.ic, k.pictures, c_.iw * c_.ic, c_.iw * c_.ic, line, end - begin},
                     from + (begin + c_.pt - 2 * k.blocks.begin) * line + c_.pl * c_.ic * lanes_,
                     pictures + (k.first_picture * c_.ih + begin) * c_.iw * c_.ic);
  }

  void write_weights(const float* sums, float* dweight) const {
    for (int64_t o = 0; o < c_.oc; o++)
      for (int64_t i = 0; i < c_.ic; i++)
        for (int64_t tap = 0; tap < taps(); tap++) dweight[(o * taps() + tap) * c_.ic + i] = *sums++;
  }

  const ConvBackwardShape s_;
  const ConvShape c_;
  const int64_t lanes_;
  const PooledLanesTable& table_;
  const BatchLanesTable& turn_;
  const decltype(GemmTable::sum_partials) sum_;
  int64_t groups_, bands_;
  int64_t blocks_h_, blocks_w_;  // of 2 x 2 pixels of the padded input's gradient
  PooledFilters filters_ = {};
};

}  // namespace

namespace {

bool accepts(const ConvShape& c, int64_t rows, int64_t columns) {
  const bool plain = c.groups == 1 && c.sh == 1 && c.sw == 1 && c.dh == 1 && c.dw == 1;
  if (!plain || c.n == 0 || rows < 1 || columns < 1 || c.ic == 0 || c.oc == 0) return false;
  if (std::min({c.pt, c.pl, c.pb, c.pr}) < 0) return false;
  const int64_t floats = 3 * rows * columns * c.oc + 2 * (c.ih + c.pt + c.kh) * (c.iw + c.pl + c.kw) * c.ic +
                         c.oc * c.ic * c.kh * c.kw;
  return floats * isa().vector_floats <= MOST_FLOATS;
}

constexpr double TURN = 5;  // a number into lanes or out of them, in multiply-adds

}  // namespace

bool pooled_forward_accepts(const ConvShape& c) {
  return c.pool == 2 && !c.finish.residual && accepts(c, c.oh / 2, c.ow / 2);
}

double pooled_forward_cost(const ConvShape& c) {
  constexpr double PART_OF_PEAK = 0.95;
  const double lanes = isa().vector_floats, pictures = std::ceil(double(c.n) / lanes) * lanes;
  const double loads = 1 + 1 / double(c.oc);  // a value must serve several sums
  return pictures * double(c.oh * c.ow * c.oc) * double(c.ic * c.kh * c.kw) * loads / PART_OF_PEAK +
         TURN * pictures * double(c.ih * c.iw * c.ic + c.oh * c.ow / 2 * c.oc);
}

KernelPtr make_pooled_forward(const ConvShape& shape, bool indices) {
  return std::make_unique<PooledLanesForward>(shape, indices);
}

bool pooled_lanes_accepts(const ConvBackwardShape& shape) {
  return shape.pooled_by_two && accepts(shape.conv, shape.gh, shape.gw);
}

// Measured: a tap is a multiply-add with two choices for the weights, or with one look-up for the input, where there are
// four for each block that a filter reaches.
double pooled_lanes_cost(const ConvBackwardShape& shape) {
  constexpr double WEIGHT_TAP = 2.5, INPUT_TAP = 2;
  const ConvShape& c = shape.conv;
  const double lanes = isa().vector_floats, pictures = std::ceil(double(c.n) / lanes) * lanes;
  const double windows = pictures * double(shape.gh * shape.gw * c.oc), pixels = pictures * double(c.ih * c.iw * c.ic);
  const double reach = 4 * double((c.kh / 2 + 1) * (c.kw / 2 + 1));
  return TURN * 3 * windows +
         (shape.dweight >= 0 ? windows * double(c.ic * c.kh * c.kw) * WEIGHT_TAP + TURN * pixels : 0) +
         (shape.dx >= 0 ? windows * double(c.ic) * reach * INPUT_TAP + TURN * pixels : 0);
}

KernelPtr make_pooled_lanes(const ConvBackwardShape& shape) { return std::make_unique<PooledLanesBackward>(shape); }

}  // namespace coolnn
