// Convolution of a batch of small pictures with few channels (LeNet): a picture in each lane. Pictures are turned into
// lanes band by band, with their padding, and the result is turned back, which costs little beside the multiply-adds.
#include <algorithm>
#include <cmath>
#include <tuple>

#include "conv_taps.h"
#include "gemm.h"
#include "parallel.h"
#include "rounding.h"

namespace coolnn {
namespace {

constexpr int64_t CHUNKS_WANTED = 8;
constexpr int64_t LEAST_WORK = 1 << 18;                 // multiply-adds that are worth a chunk
constexpr int64_t BAND_FLOATS = 1 << 17;                // of a band in lanes: it stays in the second-level cache
constexpr int64_t MOST_DEPTH_FLOATS = 1 << 13;          // of a patch in lanes: it stays in the first-level cache
constexpr int64_t GRADIENT_FLOATS = 1 << 12;            // of the gradients that are summed at a time, likewise
constexpr int64_t LEAST_PIXELS = 24;

// A tensor of pictures.
struct Pictures {
  int64_t h, w, c;
  int64_t floats() const { return h * w * c; }
};

// A convolution from one tensor of pictures to another, as a set of phases: the target pixels with the same remainder by
// `target_step`. The forward pass is one phase; the input gradient has a phase for each remainder by the stride.
struct LaneGeometry {
  Pictures source, target;
  int64_t source_step_h, source_step_w, target_step_h, target_step_w;
  std::vector<InputPhase> phases;
  int64_t left = 0, lane_width;  // padding and width of a source line in lanes, in pixels

  LaneGeometry(const ConvShape& s, ConvPass pass) {
    const Pictures x = {s.ih, s.iw, s.ic}, y = {s.oh, s.ow, s.oc};
    if (pass == ConvPass::input_grad) {
      source = y, target = x;
      source_step_h = source_step_w = 1;
      target_step_h = s.sh, target_step_w = s.sw;
      phases = input_phases(s);
    } else {
      source = x, target = y;
      source_step_h = s.sh, source_step_w = s.sw;
      target_step_h = target_step_w = 1;
      phases.push_back({0, 0, s.oh, s.ow, output_taps(s)});
    }
    int64_t end = source.w;
    for (const InputPhase& phase : phases)
      for (const Tap& tap : phase.taps) {
        left = std::max(left, -tap.dx);
        end = std::max(end, (phase.grid_w - 1) * source_step_w + tap.dx + 1);
      }
    lane_width = left + end;
  }

  // The source lines that the target lines [begin, end) need, as a range that may reach beyond the picture.
  std::pair<int64_t, int64_t> source_lines(int64_t begin, int64_t end) const {
    int64_t first = INT64_MAX, last = INT64_MIN;
    for (const InputPhase& phase : phases)
      for (int64_t y : {begin, end - 1})
        for (const Tap& tap : phase.taps) {
          const int64_t at = y / target_step_h * source_step_h + tap.dy;
          first = std::min(first, at), last = std::max(last, at);
        }
    return first > last ? std::pair<int64_t, int64_t>(0, 0) : std::pair<int64_t, int64_t>(first, last + 1);
  }

  // The taps of target line y that lie on lines of the picture; their order by lines makes them a range.
  std::pair<int64_t, int64_t> taps_inside(const InputPhase& phase, int64_t y) const {
    const int64_t corner = y / target_step_h * source_step_h, count = int64_t(phase.taps.size());
    const auto outside = [&](int64_t tap) {
      const int64_t at = corner + phase.taps[size_t(tap)].dy;
      return at < 0 || at >= source.h;
    };
    int64_t begin = 0, end = count;
    while (begin < end && outside(begin)) begin++;
    while (end > begin && outside(end - 1)) end--;
    return {begin, end};
  }
};

// How a batch is cut: groups of pictures that fill a vector, and bands of target lines.
struct LaneCut {
  int64_t pictures, lanes, groups, lines, bands;

  LaneCut(const ConvShape& s, const LaneGeometry& g) : pictures(s.n), lanes(isa().vector_floats) {
    groups = ceil_div(s.n, lanes);
    const int64_t line_floats =
        lanes * (g.target.w * g.target.c + g.lane_width * g.source.c * g.source_step_h / g.target_step_h);
    const int64_t by_memory = ceil_div(g.target.h * std::max<int64_t>(line_floats, 1), BAND_FLOATS);
    const int64_t by_work = std::min(ceil_div(CHUNKS_WANTED, std::max<int64_t>(groups, 1)),
                                     s.macs() / LEAST_WORK / std::max<int64_t>(groups, 1));
    lines = std::max<int64_t>(1, ceil_div(g.target.h, std::max<int64_t>({1, by_memory, by_work})));
    bands = ceil_div(g.target.h, lines);
  }
  int64_t chunks() const { return groups * bands; }
};

// One band of a group of pictures. Pointers into the thread's scratch memory.
struct Band {
  int64_t first_picture, pictures, begin, end;  // target lines
  int64_t source_begin, source_end;

  Band(const LaneCut& cut, const LaneGeometry& g, int64_t chunk)
      : first_picture(chunk / cut.bands * cut.lanes),
        pictures(std::min(cut.lanes, cut.pictures - first_picture)),
        begin(chunk % cut.bands * cut.lines),
        end(std::min(begin + cut.lines, g.target.h)) {
    std::tie(source_begin, source_end) = g.source_lines(begin, end);
  }
  int64_t source_floats(const LaneCut& cut, const LaneGeometry& g) const {
    return (source_end - source_begin) * g.lane_width * g.source.c * cut.lanes;
  }
  int64_t target_floats(const LaneCut& cut, const LaneGeometry& g) const {
    return (end - begin) * g.target.w * g.target.c * cut.lanes;
  }
};

// Brings a band's source lines into lanes, zeros around them.
void load_source(const BatchLanesTable& table, const LaneCut& cut, const LaneGeometry& g, const Band& band,
                 const float* pictures, float* to) {
  const int64_t pixel = g.source.c * cut.lanes, line = g.lane_width * pixel;
  const int64_t inside_begin = std::max<int64_t>(band.source_begin, 0);
  const int64_t inside_end = std::max(inside_begin, std::min(band.source_end, g.source.h));
  float* inside = to + (inside_begin - band.source_begin) * line;
  float* after = to + (inside_end - band.source_begin) * line;
  float* end = to + (band.source_end - band.source_begin) * line;
  if (inside_begin >= band.source_end) inside = after = end;
  std::fill(to, inside, 0.0f);
  std::fill(after, end, 0.0f);
  const int64_t right = g.left + g.source.w;
  for (float* at = inside; at < after; at += line) {
    std::fill(at, at + g.left * pixel, 0.0f);
    std::fill(at + right * pixel, at + line, 0.0f);
  }
  if (inside == after) return;
  const LaneLines lines = {g.source.floats(), band.pictures, g.source.w * g.source.c, g.source.w * g.source.c, line,
                           inside_end - inside_begin};
  const float* from = pictures + (band.first_picture * g.source.h + inside_begin) * g.source.w * g.source.c;
  table.to_lanes(lines, from, inside + g.left * pixel);
}

LaneLines target_lines(const LaneCut& cut, const LaneGeometry& g, const Band& band) {
  const int64_t line = g.target.w * g.target.c;
  return {g.target.floats(), band.pictures, line, line, line * cut.lanes, band.end - band.begin};
}

// Where each pixel of a phase in a band reads and writes, in floats of the band's lanes.
int64_t pixel_offsets(const LaneCut& cut, const LaneGeometry& g, const Band& band, const InputPhase& phase,
                      int64_t* source, int64_t* target) {
  int64_t count = 0;
  for (int64_t y = band.begin; y < band.end; y++) {
    if (y % g.target_step_h != phase.py) continue;
    const int64_t source_line = (y / g.target_step_h * g.source_step_h - band.source_begin) * g.lane_width + g.left;
    const int64_t target_line = (y - band.begin) * g.target.w + phase.px;
    for (int64_t x = 0; x < phase.grid_w; x++, count++) {
      source[count] = (source_line + x * g.source_step_w) * g.source.c * cut.lanes;
      target[count] = (target_line + x * g.target_step_w) * g.target.c * cut.lanes;
    }
  }
  return count;
}

// Where each number of a phase's patch lies, in floats from the patch's corner in lanes.
std::vector<int64_t> depth_offsets(const LaneCut& cut, const LaneGeometry& g, const InputPhase& phase) {
  std::vector<int64_t> offsets;
  for (const Tap& tap : phase.taps)
    for (int64_t c = 0; c < g.source.c; c++)
      offsets.push_back(((tap.dy * g.lane_width + tap.dx) * g.source.c + c) * cut.lanes);
  return offsets;
}

// Forward pass and input gradient.
class LaneConvolution final : public Kernel {
 public:
  LaneConvolution(const ConvShape& s, ConvPass pass)
      : forward_(pass == ConvPass::forward),
        filter_(s.kh * s.kw * s.ic),
        geometry_(s, pass),
        cut_(s, geometry_),
        table_(isa().conv.batch_lanes) {
    const int64_t blocks = std::max<int64_t>(1, ceil_div(geometry_.target.c, table_.most_outputs));
    height_ = std::max<int64_t>(1, ceil_div(geometry_.target.c, blocks));
    for (const InputPhase& phase : geometry_.phases) depths_.push_back(depth_offsets(cut_, geometry_, phase));
    workspace_bytes = size_t(s.kh * s.kw * s.ic * s.oc) * sizeof(float);
  }

  void run(const Arguments& a) const override {
    float* weights = static_cast<float*>(a.workspace);
    pack_weights(a.in(1), weights);
    parallel_for(cut_.chunks(), [&](int64_t chunk, int) {
      run_band(Band(cut_, geometry_, chunk), a.in(0), weights, forward_ ? a.in(2) : nullptr, a.out(0));
    });
  }

 private:
  // For each phase [block][k][output of the block].
  void pack_weights(const float* weight, float* to) const {
    const int64_t sources = geometry_.source.c, targets = geometry_.target.c;
    for (const InputPhase& phase : geometry_.phases)
      for (int64_t first = 0; first < targets; first += height_)
        for (const Tap& tap : phase.taps)
          for (int64_t c = 0; c < sources; c++)
            for (int64_t t = first; t < std::min(first + height_, targets); t++)
              *to++ = forward_ ? weight[t * filter_ + tap.index * sources + c]
                               : weight[c * filter_ + tap.index * targets + t];
  }

  void run_band(const Band& band, const float* source, const float* weights, const float* bias, float* target) const {
    const int64_t pixels = (band.end - band.begin) * geometry_.target.w;
    const int64_t source_floats = band.source_floats(cut_, geometry_);
    const int64_t target_floats = band.target_floats(cut_, geometry_);
    float* from = thread_scratch(size_t(source_floats + target_floats + 4 * pixels));
    float* to = from + source_floats;
    int64_t* source_offsets = reinterpret_cast<int64_t*>(to + target_floats);
    int64_t* target_offsets = source_offsets + pixels;

    load_source(table_, cut_, geometry_, band, source, from);
    for (size_t i = 0; i < geometry_.phases.size(); i++) {
      const InputPhase& phase = geometry_.phases[i];
      pixel_offsets(cut_, geometry_, band, phase, source_offsets, target_offsets);
      LaneProduct product = {};
      product.x = from, product.y = to;
      product.depth_offsets = depths_[i].data(), product.depth = int64_t(depths_[i].size());
      product.weights = weights, product.outputs = geometry_.target.c, product.height = height_, product.bias = bias;
      run_lines(band, phase, product, source_offsets, target_offsets);
      weights += product.depth * product.outputs;
    }
    const int64_t line = geometry_.target.w * geometry_.target.c;
    table_.from_lanes(target_lines(cut_, geometry_, band), to,
                      target + (band.first_picture * geometry_.target.h + band.begin) * line);
  }

  // Lines that see the same taps inside the picture go together; taps outside are left out.
  void run_lines(const Band& band, const InputPhase& phase, LaneProduct product, const int64_t* source_offsets,
                 const int64_t* target_offsets) const {
    std::pair<int64_t, int64_t> taps(-1, -1);
    product.x_offsets = source_offsets, product.y_offsets = target_offsets;
    const auto flush = [&] {
      product.depth_begin = taps.first * geometry_.source.c, product.depth_end = taps.second * geometry_.source.c;
      if (product.pixels > 0) table_.multiply(product);
      product.x_offsets += product.pixels, product.y_offsets += product.pixels;
      product.pixels = 0;
    };
    for (int64_t y = band.begin; y < band.end; y++) {
      if (y % geometry_.target_step_h != phase.py) continue;
      const std::pair<int64_t, int64_t> seen = geometry_.taps_inside(phase, y);
      if (seen != taps) flush();
      taps = seen;
      product.pixels += phase.grid_w;
    }
    flush();
  }

  bool forward_;
  int64_t filter_;
  LaneGeometry geometry_;
  LaneCut cut_;
  const BatchLanesTable& table_;
  int64_t height_;
  std::vector<std::vector<int64_t>> depths_;
};

class LaneWeightGrad final : public Kernel {
 public:
  explicit LaneWeightGrad(const ConvShape& s)
      : geometry_(s, ConvPass::weight_grad),
        cut_(s, geometry_),
        table_(isa().conv.batch_lanes),
        sum_(isa().gemm.sum_partials),
        depth_(depth_offsets(cut_, geometry_, geometry_.phases[0])) {
    workspace_bytes = size_t(cut_.chunks() * size()) * sizeof(float);
  }

  void run(const Arguments& a) const override {
    float* partials = static_cast<float*>(a.workspace);
    parallel_for(cut_.chunks(), [&](int64_t chunk, int) {
      run_band(Band(cut_, geometry_, chunk), a.in(0), a.in(1), partials + chunk * size());
    });
    if (cut_.chunks() == 0) std::fill(a.out(0), a.out(0) + size(), 0.0f);
    else sum_(partials, size(), cut_.chunks(), a.out(0), size());
  }

 private:
  int64_t size() const { return geometry_.target.c * int64_t(depth_.size()); }

  void run_band(const Band& band, const float* x, const float* grad, float* partial) const {
    const int64_t outputs = geometry_.target.c, pixels = (band.end - band.begin) * geometry_.target.w;
    const int64_t x_floats = band.source_floats(cut_, geometry_), grad_floats = band.target_floats(cut_, geometry_);
    const int64_t sum_floats = size() * cut_.lanes;
    float* from = thread_scratch(size_t(x_floats + grad_floats + sum_floats + 4 * pixels));
    float* gradient = from + x_floats;
    float* sums = gradient + grad_floats;
    int64_t* x_offsets = reinterpret_cast<int64_t*>(sums + sum_floats);

    load_source(table_, cut_, geometry_, band, x, from);
    const int64_t line = geometry_.target.w * outputs;
    table_.to_lanes(target_lines(cut_, geometry_, band),
                    grad + (band.first_picture * geometry_.target.h + band.begin) * line, gradient);
    pixel_offsets(cut_, geometry_, band, geometry_.phases[0], x_offsets, x_offsets + pixels);
    std::fill(sums, sums + sum_floats, 0.0f);
    const int64_t step = std::max(LEAST_PIXELS, GRADIENT_FLOATS / std::max<int64_t>(1, outputs * cut_.lanes));
    for (int64_t pixel = 0; pixel < pixels; pixel += step)
      table_.add_weights({from, x_offsets + pixel, gradient + pixel * outputs * cut_.lanes, std::min(step, pixels - pixel),
                          depth_.data(), int64_t(depth_.size()), outputs, sums});
    table_.sum_lanes(sums, size(), partial);
  }

  LaneGeometry geometry_;
  LaneCut cut_;
  const BatchLanesTable& table_;
  decltype(GemmTable::sum_partials) sum_;
  std::vector<int64_t> depth_;
};

bool accepts(const ConvShape& s, ConvPass pass) {
  const int64_t lanes = isa().vector_floats, channels = pass == ConvPass::input_grad ? s.oc : s.ic;
  return s.groups == 1 && s.n > 0 && s.kh * s.kw * channels * lanes <= MOST_DEPTH_FLOATS;
}

// Multiply-adds on whole vectors of pictures, and turning both tensors into lanes.
double cost(const ConvShape& s, ConvPass pass) {
  constexpr double TURN = 5, PART_OF_PEAK = 0.85;
  const double lanes = isa().vector_floats;
  const double pictures = std::ceil(double(s.n) / lanes) * lanes;
  const double targets = double(pass == ConvPass::input_grad ? s.ic : s.oc);
  const double loads = 1 + 1 / targets;  // a value must serve several sums
  const double products = pictures * s.oh * s.ow * s.oc * s.ic * s.kh * s.kw;
  return products * loads / PART_OF_PEAK + TURN * pictures * (double(s.ih) * s.iw * s.ic + double(s.oh) * s.ow * s.oc);
}

KernelPtr make(const ConvShape& shape, ConvPass pass) {
  if (pass == ConvPass::weight_grad) return std::make_unique<LaneWeightGrad>(shape);
  return std::make_unique<LaneConvolution>(shape, pass);
}

}  // namespace

const ConvAlgorithm batch_lanes_convolution = {"batch_lanes", false, false, accepts, cost, make};

}  // namespace coolnn
