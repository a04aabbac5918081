// Convolution straight from the picture, for few channels in a group: gathering patches for a matrix product would take
// longer than the product. The lines that a band of the output needs are copied once, with zeros around them; then every
// patch is read where it lies. Groups of 2, 4 or 8 channels share a vector.
#include <algorithm>
#include <cmath>

#include "conv_taps.h"
#include "gemm.h"
#include "parallel.h"
#include "rounding.h"

namespace coolnn {
namespace {

constexpr int64_t CHUNKS_WANTED = 40;
constexpr int64_t LEAST_WORK = 1 << 17;   // multiply-adds that are worth a chunk
constexpr size_t STREAMED = 8 << 20;      // bytes: larger outputs would leave the caches anyway
constexpr int64_t BAND_FLOATS = 1 << 16;  // of the copied lines: a part of the second-level cache

int64_t logarithm(int64_t n) {
  int64_t log = 0;
  while (int64_t(1) << log < n) log++;
  return log;
}

// Groups share a vector: their channels are a small power of two, as many in as out.
bool shares_vectors(const ConvShape& s) {
  const int64_t width = s.group_oc();
  return s.groups > 1 && width == s.group_ic() && (width == 2 || width == 4 || width == 8) && width < isa().vector_floats;
}

// Of the copied lines, in pixels.
int64_t line_width(const ConvShape& s) { return (s.ow - 1) * s.sw + (s.kw - 1) * s.dw + 1; }

// Output lines in a band.
int64_t band_lines(const ConvShape& s) {
  const int64_t pictures = std::max<int64_t>(s.n, 1);
  const int64_t bands = std::clamp<int64_t>(s.macs() / LEAST_WORK / pictures, 1, ceil_div(CHUNKS_WANTED, pictures));
  return std::max<int64_t>(1, std::min(ceil_div(s.oh, bands), BAND_FLOATS / (line_width(s) * s.ic * s.sh)));
}

// The input gradient without stride: a convolution of the output gradient with the filters turned over.
ConvShape turned(const ConvShape& s) {
  ConvShape t = s;
  t.ic = s.oc, t.ih = s.oh, t.iw = s.ow;
  t.oc = s.ic, t.oh = s.ih, t.ow = s.iw;
  t.pt = (s.kh - 1) * s.dh - s.pt, t.pl = (s.kw - 1) * s.dw - s.pl;
  return t;
}

class Direct final : public Kernel {
 public:
  Direct(const ConvShape& s, bool turned_weights)
      : shape_(s), gemm_(isa().gemm), table_(isa().conv.direct), shared_(shares_vectors(s)), turned_(turned_weights) {
    steps_ = s.kh * s.kw * s.group_ic();
    block_ = shared_ ? isa().vector_floats : gemm_.tile_columns;
    width_ = line_width(s);
    lines_ = band_lines(s);
    bands_ = ceil_div(s.oh, lines_);
    // Beside each other the taps of a line are one run, if a patch takes all of a pixel's channels.
    for (int64_t ky = 0; ky < s.kh; ky++)
      for (int64_t kx = 0; kx < s.kw; kx++) {
        if (s.groups == 1 && s.dw == 1 && kx > 0) runs_.back().length += s.ic;
        else runs_.push_back({(ky * s.dh * width_ + kx * s.dw) * s.ic, s.group_ic()});
      }
    (s.constant_weights ? packed_bytes : workspace_bytes) = size_t(groups() * group_floats()) * sizeof(float);
    if (shared_) algorithm = "direct_grouped";
  }

  void pack(const void* const* inputs, void* packed) const override {
    pack_weights(static_cast<const float*>(inputs[1]), static_cast<float*>(packed));
  }

  void run(const Arguments& a) const override {
    const float* weights = static_cast<const float*>(a.packed);
    if (packed_bytes == 0) {
      pack_weights(a.in(1), static_cast<float*>(a.workspace));
      weights = static_cast<const float*>(a.workspace);
    }
    parallel_for(shape_.n * bands_, [&](int64_t chunk, int) { run_band(a, weights, chunk / bands_, chunk % bands_ * lines_); });
  }

 private:
  // Where groups share vectors, all of them count as one.
  int64_t groups() const { return shared_ ? 1 : shape_.groups; }
  int64_t group_floats() const {
    return steps_ * ceil_div(shape_.oc / groups(), gemm_.tile_columns) * gemm_.tile_columns;
  }

  void pack_weights(const float* from, float* to) const {
    if (turned_) return pack_turned(from, to);
    const int64_t channels = shape_.oc / groups();
    parallel_for(groups(), [&](int64_t group, int) {
      gemm_.pack_b(from + group * channels * steps_, 1, steps_, steps_, channels, steps_, to + group * group_floats());
    });
  }

  // Filters as the forward pass has them: an output channel of this pass is one of their input channels.
  void pack_turned(const float* from, float* to) const {
    const int64_t taps = shape_.kh * shape_.kw, outputs = shape_.group_oc(), sums = shape_.group_ic();
    const int64_t filter = taps * outputs, panel = gemm_.tile_columns;
    parallel_for(shape_.groups, [&](int64_t group, int) {
      const int64_t column = shared_ ? group * outputs : 0;  // a group that shares a vector has some of its lanes
      float* target = shared_ ? to + column / panel * steps_ * panel + column % panel : to + group * group_floats();
      for (int64_t tap = 0; tap < taps; tap++)
        gemm_.pack_b(from + group * sums * filter + (taps - 1 - tap) * outputs, filter, 1, sums, outputs, steps_,
                     target + tap * sums * panel);
    });
  }

  // Output lines [begin, begin + lines_) of one picture.
  void run_band(const Arguments& a, const float* weights, int64_t picture, int64_t begin) const {
    const ConvShape& s = shape_;
    const int64_t end = std::min(begin + lines_, s.oh), row = width_ * s.ic;
    const int64_t rows = (end - begin - 1) * s.sh + (s.kh - 1) * s.dh + 1;
    // A vector that begins at the last channels may reach beyond the end.
    float* band = thread_scratch(size_t(rows * row + isa().vector_floats));
    std::fill_n(band + rows * row, isa().vector_floats, 0.0f);
    const float* x = a.in(0) + picture * s.ih * s.iw * s.ic;
    for (int64_t r = 0; r < rows; r++) copy_line(x, begin * s.sh - s.pt + r, band + r * row);

    const int64_t channels = s.oc / groups();
    // Whole lines of the cache, so that none is fetched to be written in part.
    const bool streams = size_t(s.n * s.oh * s.ow * s.oc) * sizeof(float) > STREAMED && s.oc % 16 == 0 &&
                         channels % block_ % 16 == 0 && reinterpret_cast<uintptr_t>(a.out(0)) % 64 == 0;
    const float* bias = turned_ ? nullptr : a.in(2);
    for (int64_t group = 0; group < groups(); group++)
      for (int64_t channel = 0; channel < channels; channel += block_)
        for (int64_t y = begin; y < end; y++) {
          const int64_t output = group * channels + channel, place = (picture * s.oh + y) * s.ow * s.oc + output;
          DirectLine line = {band + (y - begin) * s.sh * row + (shared_ ? channel : group * s.group_ic()),
                             s.sw * s.ic,
                             runs_.data(),
                             int64_t(runs_.size()),
                             weights + group * group_floats() + channel / gemm_.tile_columns * steps_ * gemm_.tile_columns +
                                 channel % gemm_.tile_columns,
                             s.ow,
                             std::min(block_, channels - channel),
                             a.out(0) + place,
                             s.oc,
                             {},
                             streams && std::min(block_, channels - channel) % isa().vector_floats == 0};
          if (bias != nullptr) line.epilogue.bias = bias + output;
          if (s.finish.residual) line.epilogue.residual = a.in(3) + place;
          line.epilogue.low = s.finish.low, line.epilogue.high = s.finish.high;
          (shared_ ? table_.grouped_line[logarithm(s.group_oc())] : table_.line)(line);
        }
  }

  // The input line y, from the left of the padding to where the last patch ends.
  void copy_line(const float* x, int64_t y, float* to) const {
    const ConvShape& s = shape_;
    const int64_t first = std::min(s.pl, width_), last = std::clamp(s.iw + s.pl, first, width_);
    if (y < 0 || y >= s.ih) {
      std::fill_n(to, width_ * s.ic, 0.0f);
      return;
    }
    std::fill_n(to, first * s.ic, 0.0f);
    std::copy_n(x + y * s.iw * s.ic, (last - first) * s.ic, to + first * s.ic);
    std::fill_n(to + last * s.ic, (width_ - last) * s.ic, 0.0f);
  }

  ConvShape shape_;
  const GemmTable& gemm_;
  const DirectTable& table_;
  bool shared_, turned_;
  std::vector<DirectRun> runs_;
  int64_t steps_;          // numbers that are summed for one output
  int64_t block_;          // output channels of a line at once
  int64_t width_;
  int64_t lines_, bands_;  // output lines in a band, bands in a picture
};

bool accepts(const ConvShape& s, ConvPass pass) {
  if (std::min({s.oh, s.ow, s.ih, s.iw, s.ic, s.oc, s.kh, s.kw}) == 0) return false;
  if (pass == ConvPass::forward) return true;
  return pass == ConvPass::input_grad && s.sh == 1 && s.sw == 1 && turned(s).pt >= 0 && turned(s).pl >= 0;
}

// Multiply-adds on whole vectors; the copy; the weights, which each band reads anew; the start of each run and the end of
// each tile.
double forward_cost(const ConvShape& s) {
  constexpr double PART_OF_PEAK = 0.93, PART_SHARED = 0.5, COPY = 4, READ = 3, RUN_CYCLES = 3, END_CYCLES = 5;
  const double lanes = isa().vector_floats, pixels = double(s.n) * s.oh * s.ow;
  const bool shared = shares_vectors(s);
  const double vectors = shared ? std::ceil(s.oc / lanes) : s.groups * std::ceil(s.group_oc() / lanes);
  const double taps = double(s.kh) * s.kw, runs = s.groups == 1 && s.dw == 1 ? double(s.kh) : taps;
  const double work = taps * s.group_ic() / (shared ? PART_SHARED : PART_OF_PEAK) + (runs * RUN_CYCLES + END_CYCLES) / 4;
  const double bands = double(s.n) * ceil_div(s.oh, band_lines(s)), weights = double(s.oc) * s.group_ic() * taps;
  return pixels * vectors * lanes * work + COPY * double(s.n) * s.ih * s.iw * s.ic + READ * bands * weights;
}

double cost(const ConvShape& s, ConvPass pass) { return forward_cost(pass == ConvPass::forward ? s : turned(s)); }

KernelPtr make(const ConvShape& s, ConvPass pass) {
  const bool forward = pass == ConvPass::forward;
  return std::make_unique<Direct>(forward ? s : turned(s), !forward);
}

}  // namespace

const ConvAlgorithm direct_convolution = {"direct", true, false, accepts, cost, make};

}  // namespace coolnn
