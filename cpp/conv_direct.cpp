// Direct convolution of pictures with few channels (a network's first layer): each output line is computed from lines
// of the picture that were copied with their padding, so that no patch crosses a border and nothing else is packed.
#include <algorithm>
#include <cmath>

#include "conv_taps.h"
#include "gemm.h"
#include "parallel.h"

namespace coolnn {
namespace {

constexpr int64_t MOST_CHANNELS = 15;            // from 16 on others do it better
constexpr int64_t LINES = 8;                     // of output in a chunk
constexpr int64_t STREAMED_OUTPUT = 8 << 20;     // larger outputs would leave the caches anyway

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

class DirectConvolution final : public Kernel {
 public:
  explicit DirectConvolution(const ConvShape& s)
      : s_(s),
        table_(isa().conv.direct),
        line_floats_((s.pl + s.iw + std::max<int64_t>(0, s.pr)) * s.ic),
        patch_(s.kh * s.kw * s.ic),
        blocks_(divide_up(s.oc, table_.columns)),
        lines_(std::max<int64_t>(1, std::min(LINES, divide_up(s.n * s.oh, 32)))) {
    const bool joined = s.dw == 1;  // taps beside each other lie without a gap
    run_length_ = joined ? s.kw * s.ic : s.ic;
    for (int64_t ky = 0; ky < s.kh; ky++)
      for (int64_t kx = 0; kx < (joined ? 1 : s.kw); kx++)
        runs_.push_back(ky * s.dh * line_floats_ + kx * s.dw * s.ic);
    const size_t bytes = size_t(blocks_ * table_.columns * patch_) * sizeof(float);
    (s.constant_weights ? packed_bytes : workspace_bytes) = bytes;
  }

  void pack(const void* const* inputs, void* packed) const override {
    pack_weights(static_cast<const float*>(inputs[1]), static_cast<float*>(packed));
  }

  void run(const Arguments& a) const override {
    const float* weights = static_cast<const float*>(a.packed);
    if (!s_.constant_weights) {
      pack_weights(a.in(1), static_cast<float*>(a.workspace));
      weights = static_cast<const float*>(a.workspace);
    }
    const int64_t bands = divide_up(s_.oh, lines_);
    parallel_for(s_.n * bands, [&](int64_t chunk, int) {
      const int64_t begin = chunk % bands * lines_;
      run_band(a, weights, chunk / bands, begin, std::min(begin + lines_, s_.oh));
    });
  }

 private:
  // The output lines [begin, end) of one picture.
  void run_band(const Arguments& a, const float* weights, int64_t image, int64_t begin, int64_t end) const {
    const int64_t first = begin * s_.sh - s_.pt, count = (end - begin - 1) * s_.sh + (s_.kh - 1) * s_.dh + 1;
    float* const padded = thread_scratch(size_t(count * line_floats_));
    const int64_t row = s_.iw * s_.ic, left = s_.pl * s_.ic;
    for (int64_t i = 0; i < count; i++) {
      float* const to = padded + i * line_floats_;
      if (first + i < 0 || first + i >= s_.ih) {
        std::fill(to, to + line_floats_, 0.0f);
        continue;
      }
      const float* const from = a.in(0) + (image * s_.ih + first + i) * row;
      std::fill(to, to + left, 0.0f);
      std::copy(from, from + row, to + left);
      std::fill(to + left + row, to + line_floats_, 0.0f);
    }
    const int64_t size = s_.ow * s_.oc;
    DirectLine line = {};
    line.pixel = s_.sw * s_.ic;
    line.runs = runs_.data(), line.run_count = int64_t(runs_.size()), line.run_length = run_length_;
    line.weights = weights;
    line.outputs = s_.oc, line.pixels = s_.ow;
    line.bias = a.in(2);
    line.low = s_.finish.low, line.high = s_.finish.high;
    line.stream = s_.n * s_.oh * size * 4 > STREAMED_OUTPUT && s_.oc % isa().vector_floats == 0 &&
                  reinterpret_cast<uintptr_t>(a.out(0)) % 64 == 0;
    for (int64_t y = begin; y < end; y++) {
      const int64_t at = (image * s_.oh + y) * size;
      line.x = padded + (y - begin) * s_.sh * line_floats_;
      line.y = a.out(0) + at;
      line.residual = s_.finish.residual ? a.in(3) + at : nullptr;
      table_.line(line);
    }
  }

  void pack_weights(const float* weights, float* to) const {
    const int64_t columns = table_.columns;
    for (int64_t block = 0; block < blocks_; block++)
      for (int64_t k = 0; k < patch_; k++)
        for (int64_t i = 0; i < columns; i++) {
          const int64_t output = block * columns + i;
          *to++ = output < s_.oc ? weights[output * patch_ + k] : 0.0f;
        }
  }

  const ConvShape s_;
  const DirectTable& table_;
  const int64_t line_floats_, patch_, blocks_, lines_;
  std::vector<int64_t> runs_;
  int64_t run_length_;
};

bool accepts(const ConvShape& s, ConvPass pass) {
  const int64_t needed = (s.ow - 1) * s.sw + (s.kw - 1) * s.dw + 1;  // pixels of a padded line
  return pass == ConvPass::forward && s.groups == 1 && s.ic > 0 && s.ic <= MOST_CHANNELS && s.n > 0 && s.pl >= 0 &&
         s.pt >= 0 && s.pl + s.iw + std::max<int64_t>(0, s.pr) >= needed;
}

// Multiply-adds on whole vectors of outputs, and copying the padded lines.
double cost(const ConvShape& s, ConvPass) {
  constexpr double PART_OF_PEAK = 0.8, PART_OF_ONE_VECTOR = 0.5, COPY = 4, WRITE = 4;
  const double lanes = isa().vector_floats, outputs = std::ceil(double(s.oc) / lanes) * lanes;
  const double pixels = double(s.n) * s.oh * s.ow;
  // A number of the picture that serves one vector of outputs only has to be loaded as often as there are products.
  const double part = outputs > lanes ? PART_OF_PEAK : PART_OF_ONE_VECTOR;
  return pixels * s.kh * s.kw * s.ic * outputs / part + COPY * double(s.n) * s.ih * s.iw * s.ic +
         WRITE * pixels * outputs;
}

KernelPtr make(const ConvShape& shape, ConvPass) { return std::make_unique<DirectConvolution>(shape); }

}  // namespace

const ConvAlgorithm direct_convolution = {"direct", true, false, accepts, cost, make};

}  // namespace coolnn
