// Average pooling, adaptive average pooling, resizing and their gradients: all are separable weighted sums of pixels,
// and the gradient of one is another one, with the transposed weights.
#include <cmath>

#include "isa.h"
#include "kernel.h"
#include "parallel.h"
#include "rounding.h"
#include "window.h"

namespace coolnn {
namespace {

struct Axis {
  std::vector<int32_t> first, count, begin;
  std::vector<float> weight;
  std::vector<float> divisor;  // empty: weighted

  void add(int64_t from, const std::vector<double>& weights) {
    first.push_back(int32_t(from));
    count.push_back(int32_t(weights.size()));
    begin.push_back(int32_t(weight.size()));
    for (const double w : weights) weight.push_back(float(w));
  }
  ResampleAxis view() const {
    return {first.data(), count.data(), begin.data(), weight.data(), divisor.empty() ? nullptr : divisor.data()};
  }
  int64_t longest() const { return count.empty() ? 0 : *std::max_element(count.begin(), count.end()); }
};

// Averages over windows, by sum and division, so that the average of ones is one.
Axis averages(const Windows& windows, std::vector<float> divisor) {
  Axis axis;
  axis.first = windows.first;
  axis.count = windows.count;
  axis.begin.assign(windows.first.size(), 0);
  axis.divisor = std::move(divisor);
  return axis;
}

Axis pooling_averages(const Problem& p, int axis, int64_t input, int64_t output) {
  const size_t i = size_t(axis);
  const int64_t kernel = p.integers("kernel_size")[i], stride = p.integers("stride")[i];
  const int64_t before = p.integers("padding")[i], after = p.integers("padding")[i + 2];
  const bool with_padding = p.integer("count_include_pad", 1) != 0;
  const Windows windows = pooling_windows(input, output, kernel, stride, before, 1);
  std::vector<float> divisor;
  for (int64_t o = 0; o < output; o++) {
    // What sticks out beyond the padding (ceil mode) never counts.
    const int64_t start = o * stride - before, padded = std::min(start + kernel, input + after) - start;
    const int64_t n = with_padding ? padded : windows.count[size_t(o)];
    divisor.push_back(float(std::max<int64_t>(1, n)));
  }
  return averages(windows, std::move(divisor));
}

Axis adaptive_averages(int64_t input, int64_t output) {
  const Windows windows = adaptive_windows(input, output);
  return averages(windows, std::vector<float>(windows.count.begin(), windows.count.end()));
}

// Source positions in float32, as PyTorch computes them, so that both pick the same pixels.
Axis resizing(int64_t input, int64_t output, bool bilinear, bool align_corners, float scale) {
  Axis axis;
  for (int64_t o = 0; o < output; o++) {
    if (!bilinear) {
      const int64_t from = int64_t(std::floor(float(o) * scale));
      axis.add(std::min(from, input - 1), {1.0});
      continue;
    }
    const float at = align_corners ? float(o) * scale : std::max(0.0f, (float(o) + 0.5f) * scale - 0.5f);
    const int64_t from = std::min(int64_t(at), input - 1);
    const float upper = std::min(1.0f, std::max(0.0f, at - float(from)));
    if (from == input - 1 || upper == 0.0f) axis.add(from, {1.0});
    else axis.add(from, {1.0 - double(upper), double(upper)});
  }
  return axis;
}

// Source i gets from destination o what o got from i.
Axis transposed(const Axis& axis, int64_t input) {
  Windows windows;
  windows.first = axis.first;
  windows.count = axis.count;
  const Windows cover = covering(windows, input);
  Axis result;
  for (size_t i = 0; i < size_t(input); i++) {
    std::vector<double> weights(size_t(cover.count[i]), 0.0);
    for (size_t j = 0; j < weights.size(); j++) {
      const size_t o = size_t(cover.first[i]) + j;
      const int32_t k = int32_t(i) - axis.first[o];
      if (k < 0 || k >= axis.count[o]) continue;
      weights[j] = axis.divisor.empty() ? double(axis.weight[size_t(axis.begin[o] + k)]) : 1.0 / axis.divisor[o];
    }
    result.add(cover.first[i], weights);
  }
  return result;
}

KernelPtr resample(const Problem& p, Axis vertical, Axis horizontal) {
  constexpr int64_t BLOCK = 64;  // channels
  const Spec &x = p.inputs[0], &y = p.outputs[0];
  const int64_t channels = x.shape[1], width = x.shape[3], sample = channels * x.shape[2] * width;
  const int64_t out_height = y.shape[2], out_width = y.shape[3], rows = y.shape[0] * out_height;
  const int64_t end = x.elements();
  const int64_t vectors = (channels + isa().vector_floats - 1) / isa().vector_floats;
  const int64_t cost = out_width * vectors * (1 + vertical.longest() * horizontal.longest());
  // Few rows of large windows (pooling over the whole picture) are shared out by channels too.
  const int64_t blocks = rows < 16 && channels > BLOCK && cost > 4096 ? ceil_div(channels, BLOCK) : 1;
  const int64_t block = blocks > 1 ? BLOCK : channels;
  const int64_t grain = blocks > 1 ? 1 : rows_per_chunk(cost);
  const auto run_row = isa().resample.row;
  auto run = [=, vertical = std::move(vertical), horizontal = std::move(horizontal)](const Arguments& a) {
    const ResampleAxis vertical_view = vertical.view(), horizontal_view = horizontal.view();
    parallel_range(rows * blocks, grain, [&](int64_t first, int64_t last) {
      ResampleRow r;
      r.x_end = a.in(0) + end;
      r.y_end = a.out(0) + last / blocks * out_width * channels;
      r.channels = channels, r.width = width, r.out_width = out_width;
      r.vertical = &vertical_view, r.horizontal = &horizontal_view;
      for (int64_t item = first; item < last; item++) {
        const int64_t row = item / blocks;
        r.x = a.in(0) + row / out_height * sample;
        r.y = a.out(0) + row * out_width * channels;
        r.row = row % out_height;
        r.channel_begin = item % blocks * block;
        r.channel_end = std::min(channels, r.channel_begin + block);
        run_row(r);
      }
    });
  };
  return make_function_kernel("rows", std::move(run));
}

bool accepts(const Problem& p) {
  const Spec &x = p.inputs[0], &y = p.outputs[0];
  // A picture without pixels has nothing to sum up or to pick from.
  return x.rank == 4 && x.dtype == DType::f32 && y.rank == 4 && y.dtype == DType::f32 && x.elements() > 0 &&
         y.elements() > 0;
}

KernelPtr make_avg_pool2d(const Problem& p) {
  if (!accepts(p)) return nullptr;
  const int64_t *x = p.inputs[0].shape, *y = p.outputs[0].shape;
  return resample(p, pooling_averages(p, 0, x[2], y[2]), pooling_averages(p, 1, x[3], y[3]));
}

KernelPtr make_avg_pool2d_grad(const Problem& p) {
  if (!accepts(p)) return nullptr;
  const int64_t *grad = p.inputs[0].shape, *dx = p.outputs[0].shape;
  return resample(p, transposed(pooling_averages(p, 0, dx[2], grad[2]), dx[2]),
                  transposed(pooling_averages(p, 1, dx[3], grad[3]), dx[3]));
}

KernelPtr make_adaptive_avg_pool2d(const Problem& p) {
  if (!accepts(p)) return nullptr;
  const int64_t *x = p.inputs[0].shape, *y = p.outputs[0].shape;
  return resample(p, adaptive_averages(x[2], y[2]), adaptive_averages(x[3], y[3]));
}

KernelPtr make_adaptive_avg_pool2d_grad(const Problem& p) {
  if (!accepts(p)) return nullptr;
  const int64_t *grad = p.inputs[0].shape, *dx = p.outputs[0].shape;
  return resample(p, transposed(adaptive_averages(dx[2], grad[2]), dx[2]),
                  transposed(adaptive_averages(dx[3], grad[3]), dx[3]));
}

Axis resize_axis(const Problem& p, int axis, int64_t input, int64_t output) {
  const std::vector<double> scale = p.numbers("scale");
  return resizing(input, output, p.text("mode") == "bilinear", p.integer("align_corners", 0) != 0,
                  float(scale[size_t(axis)]));
}

bool is_known_mode(const Problem& p) { return p.text("mode") == "nearest" || p.text("mode") == "bilinear"; }

KernelPtr make_resize2d(const Problem& p) {
  if (!accepts(p) || !is_known_mode(p)) return nullptr;
  const int64_t *x = p.inputs[0].shape, *y = p.outputs[0].shape;
  return resample(p, resize_axis(p, 0, x[2], y[2]), resize_axis(p, 1, x[3], y[3]));
}

KernelPtr make_resize2d_grad(const Problem& p) {
  if (!accepts(p) || !is_known_mode(p)) return nullptr;
  const int64_t *grad = p.inputs[0].shape, *dx = p.outputs[0].shape;
  return resample(p, transposed(resize_axis(p, 0, dx[2], grad[2]), dx[2]),
                  transposed(resize_axis(p, 1, dx[3], grad[3]), dx[3]));
}

}  // namespace

Family resample_family() {
  return {
      {"avg_pool2d", make_avg_pool2d},
      {"avg_pool2d_grad", make_avg_pool2d_grad},
      {"adaptive_avg_pool2d", make_adaptive_avg_pool2d},
      {"adaptive_avg_pool2d_grad", make_adaptive_avg_pool2d_grad},
      {"resize2d", make_resize2d},
      {"resize2d_grad", make_resize2d_grad},
  };
}

}  // namespace coolnn
