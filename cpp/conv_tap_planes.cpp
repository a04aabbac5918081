// The input gradient where the input has few channels (the first layer, whose gradient is a picture): one product gives
// every output pixel's share for every tap and channel, as planes that run along a line of pixels; the planes are then
// added up, each shifted by its tap. Pixels fill the vectors, where a few channels would leave them nearly empty.
#include <algorithm>
#include <cmath>

#include "conv_taps.h"
#include "gemm.h"
#include "parallel.h"
#include "rounding.h"

namespace coolnn {
namespace {

constexpr int64_t CHUNKS_WANTED = 20;
constexpr int64_t LEAST_LINES = 8;  // of a band, for each line of a kernel: neighbouring bands repeat a kernel's lines

class TapPlanes final : public Kernel {
 public:
  explicit TapPlanes(const ConvShape& s)
      : shape_(s), gemm_(isa().gemm), add_(isa().conv.add), taps_(output_taps(s)), planes_(s.kh * s.kw * s.ic) {
    panels_ = ceil_div(planes_, gemm_.tile_rows);
    const int64_t wanted = ceil_div(CHUNKS_WANTED, std::max<int64_t>(s.n, 1));
    const int64_t bands = std::max<int64_t>(1, std::min(wanted, s.ih / (LEAST_LINES * s.kh)));
    lines_ = ceil_div(s.ih, bands);
    bands_ = ceil_div(s.ih, lines_);
    phase_width_ = ceil_div(s.iw, s.sw);
    workspace_bytes = size_t(panels_ * gemm_.tile_rows * s.oc) * sizeof(float);
  }

  void run(const Arguments& a) const override {
    // A: planes (taps of channels) x output channels, in blocks of the depth.
    float* weights = static_cast<float*>(a.workspace);
    for (int64_t k = 0; k < shape_.oc; k += GEMM_DEPTH)
      gemm_.pack_a(a.in(1) + k * planes_, 1, planes_, planes_, depth_at(k), PanelOrder::depth, panels_,
                   weights + k * panels_ * gemm_.tile_rows);
    parallel_for(shape_.n * bands_, [&](int64_t chunk, int) {
      run_band(a.in(0), weights, chunk / bands_, chunk % bands_ * lines_, a.out(0));
    });
  }

 private:
  int64_t depth_at(int64_t k) const { return std::min<int64_t>(GEMM_DEPTH, shape_.oc - k); }

  // Input lines [begin, begin + lines_) of one picture.
  void run_band(const float* grad, const float* weights, int64_t picture, int64_t begin, float* dx) const {
    const ConvShape& s = shape_;
    const int64_t end = std::min(begin + lines_, s.ih), line = s.ic * s.sw * phase_width_;
    const int64_t columns = 4 * gemm_.tile_columns;
    const int64_t sum_floats = (end - begin) * line, plane_floats = planes_ * s.ow;
    float* packed = thread_scratch(size_t(columns * GEMM_DEPTH + 2 * planes_ + sum_floats + plane_floats));
    int64_t* offsets = reinterpret_cast<int64_t*>(packed + columns * GEMM_DEPTH);
    float* sums = packed + columns * GEMM_DEPTH + 2 * planes_;
    float* planes = sums + sum_floats;
    for (int64_t p = 0; p < planes_; p++) offsets[p] = p * s.ow;
    std::fill(sums, sums + sum_floats, 0.0f);

    // Output lines that reach the band: those whose taps' lines overlap it.
    const int64_t first = std::max<int64_t>(0, ceil_div(std::max<int64_t>(0, begin + s.pt - (s.kh - 1) * s.dh), s.sh));
    const int64_t last = std::min(s.oh - 1, (end - 1 + s.pt) / s.sh);
    for (int64_t y = first; y <= last; y++) {
      multiply_line(grad + (picture * s.oh + y) * s.ow * s.oc, weights, offsets, packed, planes);
      for (size_t t = 0; t < taps_.size(); t++) {
        const int64_t at = y * s.sh + taps_[t].dy;
        if (at >= begin && at < end) add_tap(taps_[t], planes + int64_t(t) * s.ic * s.ow, sums + (at - begin) * line);
      }
    }
    for (int64_t y = begin; y < end; y++)
      interleave(sums + (y - begin) * line, dx + (picture * s.ih + y) * s.iw * s.ic);
  }

  // planes (x pixels of a line) = weights times the gradient's line.
  void multiply_line(const float* grad, const float* weights, const int64_t* offsets, float* packed, float* planes) const {
    const int64_t group = 4 * gemm_.tile_columns;
    for (int64_t x = 0; x < shape_.ow; x += group) {
      const int64_t width = std::min(group, shape_.ow - x);
      for (int64_t k = 0; k < shape_.oc; k += GEMM_DEPTH) {
        gemm_.pack_b(grad + x * shape_.oc + k, 1, shape_.oc, depth_at(k), width, depth_at(k), packed);
        gemm_.multiply({weights + k * panels_ * gemm_.tile_rows, PanelOrder::depth, panels_, packed, gemm_.tile_columns,
                        depth_at(k) * gemm_.tile_columns, planes_, width, depth_at(k), planes + x, offsets, {}, k > 0, nullptr, 0});
      }
    }
  }

  // Adds the channels' planes of one tap to a line of sums, [x % stride][channel][x / stride].
  void add_tap(const Tap& tap, const float* planes, float* line) const {
    const ConvShape& s = shape_;
    const int64_t phase = ((tap.dx % s.sw) + s.sw) % s.sw, shift = (tap.dx - phase) / s.sw;
    const int64_t width = (s.iw - phase + s.sw - 1) / s.sw;
    const int64_t begin = std::max<int64_t>(0, -shift), end = std::min(s.ow, width - shift);
    if (begin >= end || phase >= s.iw) return;
    for (int64_t c = 0; c < s.ic; c++)
      add_(planes + c * s.ow + begin, line + (phase * s.ic + c) * phase_width_ + begin + shift, end - begin);
  }

  void interleave(const float* line, float* dx) const {
    const ConvShape& s = shape_;
    for (int64_t phase = 0; phase < std::min(s.sw, s.iw); phase++)
      for (int64_t c = 0; c < s.ic; c++) {
        const float* from = line + (phase * s.ic + c) * phase_width_;
        for (int64_t x = phase; x < s.iw; x += s.sw) dx[x * s.ic + c] = *from++;
      }
  }

  ConvShape shape_;
  const GemmTable& gemm_;
  decltype(ConvTable::add) add_;
  std::vector<Tap> taps_;
  int64_t planes_, panels_;
  int64_t lines_, bands_;  // input lines in a band, bands in a picture
  int64_t phase_width_;
};

bool accepts(const ConvShape& s, ConvPass pass) {
  return pass == ConvPass::input_grad && s.groups == 1 && s.ic > 0 && s.kh * s.kw * s.ic <= 256;
}

// Multiply-adds; turning the gradient; adding and interleaving the planes.
double cost(const ConvShape& s, ConvPass) {
  constexpr double PART_OF_PEAK = 0.85, TURN = 10, ADD = 2, INTERLEAVE = 40;
  const double lanes = isa().vector_floats, overlap = 1 + 1.0 / LEAST_LINES;
  const double planes = double(s.kh) * s.kw * s.ic, pixels = double(s.n) * s.oh * std::ceil(s.ow / lanes) * lanes;
  return overlap * pixels * (planes * (s.oc / PART_OF_PEAK + ADD) + TURN * s.oc) +
         INTERLEAVE * double(s.n) * s.ih * s.iw * s.ic;
}

KernelPtr make(const ConvShape& shape, ConvPass) { return std::make_unique<TapPlanes>(shape); }

}  // namespace

const ConvAlgorithm tap_planes_convolution = {"tap_planes", false, false, accepts, cost, make};

}  // namespace coolnn
