// Depthwise convolution (a group for every channel), line by line, with the channels in the lanes.
#include <algorithm>
#include <cmath>

#include "conv_taps.h"
#include "isa.h"
#include "parallel.h"
#include "rounding.h"

namespace coolnn {
namespace {

constexpr int64_t LEAST_WORK = 1 << 16;  // multiply-adds that are worth a chunk
constexpr int64_t CHUNKS_WANTED = 40, MOST_LINES = 16;
constexpr int64_t MOST_PARTIALS = 16;    // partial weight gradients

// Patches of pictures on a grid.
struct Grid {
  int64_t h, w, step_h, step_w;      // patches, and pixels between them
  int64_t height, width, channels;   // of the pictures
  std::vector<Tap> taps;
  int64_t full_begin, full_end;      // patches of a line whose taps all lie within its width
  int64_t row_taps = 0, row_step = 0;  // see DepthwiseLine

  Grid(int64_t h_, int64_t w_, int64_t step_h_, int64_t step_w_, int64_t height_, int64_t width_, int64_t channels_,
       std::vector<Tap> taps_)
      : h(h_), w(w_), step_h(step_h_), step_w(step_w_), height(height_), width(width_), channels(channels_),
        taps(std::move(taps_)) {
    int64_t least = 0, most = 0;
    for (const Tap& tap : taps) least = std::min(least, tap.dx), most = std::max(most, tap.dx);
    full_begin = std::min(w, (-least + step_w - 1) / step_w);
    full_end = width > most ? std::min(w, (width - 1 - most) / step_w + 1) : 0;
    full_end = std::max(full_begin, full_end);
    find_rows();
  }

  // Line y of a picture: fills `taps_of_line`, which has room for all taps. Weights lie in blocks of `lanes` channels,
  // each with `all_taps`; their gradients, if wanted, tap by tap.
  DepthwiseLine line(const float* picture, int64_t y, const float* weights, float* weight_grads,
                     DepthwiseTap* taps_of_line, int64_t lanes, int64_t all_taps) const {
    int64_t count = 0;
    for (const Tap& tap : taps) {
      const int64_t at = y * step_h + tap.dy;
      if (at < 0 || at >= height) continue;
      taps_of_line[count++] = {(at * width + tap.dx) * channels, tap.dx,
                               weights != nullptr ? weights + tap.index * lanes : nullptr,
                               weight_grads != nullptr ? weight_grads + tap.index * channels : nullptr};
    }
    return {picture, width, channels, step_w, taps_of_line, count, w, full_begin, full_end, all_taps, row_taps,
            row_step * lanes};
  }

  // Lines that make a chunk, of `all` lines: several, because neighbours read the same lines of the picture.
  int64_t lines_per_chunk(int64_t all) const {
    const int64_t by_work = LEAST_WORK / std::max<int64_t>(1, w * channels * int64_t(taps.size()));
    return std::max({int64_t(1), by_work, std::min(MOST_LINES, all / CHUNKS_WANTED)});
  }

 private:
  // Whether the taps are rows of neighbours, all of one length.
  void find_rows() {
    size_t length = 1;
    while (length < taps.size() && taps[length].dy == taps[0].dy) length++;
    if (length < 2 || taps.size() % length != 0) return;
    const int64_t step = taps[1].index - taps[0].index;
    for (size_t i = 0; i < taps.size(); i++) {
      const Tap &first = taps[i - i % length], &tap = taps[i];
      const int64_t place = int64_t(i % length);
      if (tap.dy != first.dy || tap.dx != taps[0].dx + place || tap.index != first.index + place * step) return;
    }
    row_taps = int64_t(length), row_step = step;
  }
};

// Weights (channels x taps) in blocks of as many channels as vectors have lanes: [block][tap][channel].
struct BlockedWeights {
  int64_t channels, taps, lanes = isa().vector_floats;

  int64_t floats() const { return ceil_div(channels, lanes) * lanes * taps; }
  void pack(const float* from, float* to) const {
    const int64_t blocks = ceil_div(channels, lanes);
    parallel_range(blocks, items_within(1 << 14, taps * lanes), [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; block++)
        for (int64_t tap = 0; tap < taps; tap++)
          for (int64_t lane = 0; lane < lanes; lane++) {
            const int64_t channel = block * lanes + lane;
            to[(block * taps + tap) * lanes + lane] = channel < channels ? from[channel * taps + tap] : 0.0f;
          }
    });
  }
};

// Turns weights (channels x taps) into (taps x channels) or back.
void transpose(const float* from, int64_t rows, int64_t columns, float* to) {
  parallel_range(rows, items_within(1 << 14, columns), [&](int64_t begin, int64_t end) {
    for (int64_t c = 0; c < columns; c++)
      for (int64_t r = begin; r < end; r++) to[c * rows + r] = from[r * columns + c];
  });
}

DepthwiseTap* tap_scratch(size_t taps) {
  static thread_local std::vector<DepthwiseTap> scratch;
  if (scratch.size() < taps) scratch.resize(taps);
  return scratch.data();
}

class Forward final : public Kernel {
 public:
  explicit Forward(const ConvShape& s)
      : shape_(s),
        grid_(s.oh, s.ow, s.sh, s.sw, s.ih, s.iw, s.ic, output_taps(s)),
        weights_{s.ic, s.kh * s.kw},
        line_(isa().conv.depthwise_line) {
    (s.constant_weights ? packed_bytes : workspace_bytes) = size_t(weights_.floats()) * sizeof(float);
  }

  void pack(const void* const* inputs, void* packed) const override {
    weights_.pack(static_cast<const float*>(inputs[1]), static_cast<float*>(packed));
  }
  void run(const Arguments& a) const override {
    const ConvShape& s = shape_;
    const float* weights = static_cast<const float*>(a.packed);
    if (packed_bytes == 0) {
      pack(a.inputs, a.workspace);
      weights = static_cast<const float*>(a.workspace);
    }
    const int64_t line_floats = s.ow * s.ic;
    parallel_range(s.n * s.oh, grid_.lines_per_chunk(s.n * s.oh), [&](int64_t begin, int64_t end) {
      DepthwiseTap* taps = tap_scratch(grid_.taps.size());
      GemmEpilogue epilogue;
      epilogue.bias = a.in(2);
      epilogue.low = s.finish.low, epilogue.high = s.finish.high;
      for (int64_t i = begin; i < end; i++) {
        const float* picture = a.in(0) + i / s.oh * s.ih * s.iw * s.ic;
        if (s.finish.residual) epilogue.residual = a.in(3) + i * line_floats;
        line_(grid_.line(picture, i % s.oh, weights, nullptr, taps, weights_.lanes, weights_.taps), epilogue,
              a.out(0) + i * line_floats, s.ic);
      }
    });
  }

 private:
  ConvShape shape_;
  Grid grid_;
  BlockedWeights weights_;
  decltype(ConvTable::depthwise_line) line_;
};

class InputGrad final : public Kernel {
 public:
  explicit InputGrad(const ConvShape& s)
      : shape_(s), weights_{s.ic, s.kh * s.kw}, line_(isa().conv.depthwise_line) {
    for (InputPhase& phase : input_phases(s)) {
      phases_.push_back({phase.py, phase.px,
                         Grid(phase.grid_h, phase.grid_w, 1, 1, s.oh, s.ow, s.ic, std::move(phase.taps))});
    }
    workspace_bytes = size_t(weights_.floats()) * sizeof(float);
  }

  void run(const Arguments& a) const override {
    const ConvShape& s = shape_;
    float* weights = static_cast<float*>(a.workspace);
    weights_.pack(a.in(1), weights);
    // Lines of the input, each with the phases that its pixels belong to: so a line is written as a whole.
    const int64_t work = s.iw * s.ic * s.kh * s.kw / (s.sh * s.sw);
    parallel_range(s.n * s.ih, items_within(LEAST_WORK, work), [&](int64_t begin, int64_t end) {
      DepthwiseTap* taps = tap_scratch(size_t(s.kh * s.kw));
      for (int64_t i = begin; i < end; i++) {
        const int64_t y = i % s.ih;
        const float* grad = a.in(0) + i / s.ih * s.oh * s.ow * s.ic;
        for (const Phase& phase : phases_) {
          if (y % s.sh != phase.py) continue;
          float* dx = a.out(0) + (i * s.iw + phase.px) * s.ic;
          line_(phase.grid.line(grad, y / s.sh, weights, nullptr, taps, weights_.lanes, weights_.taps), {}, dx,
                s.sw * s.ic);
        }
      }
    });
  }

 private:
  struct Phase {
    int64_t py, px;
    Grid grid;
  };
  ConvShape shape_;
  BlockedWeights weights_;
  std::vector<Phase> phases_;
  decltype(ConvTable::depthwise_line) line_;
};

class WeightGrad final : public Kernel {
 public:
  explicit WeightGrad(const ConvShape& s)
      : shape_(s),
        grid_(s.oh, s.ow, s.sh, s.sw, s.ih, s.iw, s.ic, output_taps(s)),
        line_(isa().conv.depthwise_line_weights),
        sum_(isa().gemm.sum_partials) {
    const int64_t lines = s.n * s.oh, per_chunk = grid_.lines_per_chunk(0), chunks = ceil_div(lines, per_chunk);
    partials_ = std::max<int64_t>(1, std::min(chunks, MOST_PARTIALS));
    workspace_bytes = size_t((partials_ + 1) * s.kh * s.kw * s.ic) * sizeof(float);
  }

  void run(const Arguments& a) const override {
    const ConvShape& s = shape_;
    const int64_t size = s.kh * s.kw * s.ic, lines = s.n * s.oh;
    float* sum = static_cast<float*>(a.workspace);
    float* partials = sum + size;
    parallel_for(partials_, [&](int64_t part, int) {
      float* mine = partials + part * size;
      std::fill(mine, mine + size, 0.0f);
      DepthwiseTap* taps = tap_scratch(grid_.taps.size());
      for (int64_t i = lines * part / partials_; i < lines * (part + 1) / partials_; i++) {
        const float* picture = a.in(0) + i / s.oh * s.ih * s.iw * s.ic;
        line_(grid_.line(picture, i % s.oh, nullptr, mine, taps, 0, 0), a.in(1) + i * s.ow * s.ic);
      }
    });
    sum_(partials, size, partials_, sum, size);
    transpose(sum, s.kh * s.kw, s.ic, a.out(0));
  }

 private:
  ConvShape shape_;
  Grid grid_;
  decltype(ConvTable::depthwise_line_weights) line_;
  decltype(GemmTable::sum_partials) sum_;
  int64_t partials_;
};

bool accepts(const ConvShape& s, ConvPass) { return s.groups == s.ic && s.groups == s.oc; }

// A load for each multiply-add: about half of the peak.
double cost(const ConvShape& s, ConvPass) {
  const double lanes = isa().vector_floats;
  return 2.0 * double(s.n) * s.oh * s.ow * s.kh * s.kw * std::ceil(double(s.ic) / lanes) * lanes;
}

KernelPtr make(const ConvShape& shape, ConvPass pass) {
  switch (pass) {
    case ConvPass::forward: return std::make_unique<Forward>(shape);
    case ConvPass::input_grad: return std::make_unique<InputGrad>(shape);
    case ConvPass::weight_grad: return std::make_unique<WeightGrad>(shape);
  }
  return nullptr;
}

}  // namespace

const ConvAlgorithm depthwise_convolution = {"depthwise", true, false, accepts, cost, make};

}  // namespace coolnn
