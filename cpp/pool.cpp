// Max pooling and its gradient. Tensors are channels-last; work is shared out by rows of what is written.
#include "isa.h"
#include "kernel.h"
#include "parallel.h"
#include "rounding.h"
#include "window.h"

namespace coolnn {
namespace {

bool is_picture(const Spec& spec, DType dtype = DType::f32) { return spec.rank == 4 && spec.dtype == dtype; }
bool indexable(const Spec& spec) { return spec.shape[2] * spec.shape[3] < (int64_t(1) << 31); }
int64_t channel_vectors(int64_t channels) { return (channels + isa().vector_floats - 1) / isa().vector_floats; }

// The second output, the indices, may be left out when the kernel runs.
KernelPtr max_pool(const Problem& p, Windows vertical, Windows horizontal) {
  const Spec &x = p.inputs[0], &y = p.outputs[0];
  if (!is_picture(x) || !is_picture(y) || !is_picture(p.outputs[1], DType::i32) || !indexable(x)) return nullptr;
  const auto run_row = isa().pool.max_row;
  const int64_t channels = x.shape[1], width = x.shape[3], sample = channels * x.shape[2] * width;
  const int64_t out_height = y.shape[2], out_width = y.shape[3], rows = y.shape[0] * out_height;
  const int64_t end = x.elements();
  int64_t taps = 1;
  for (const int32_t count : horizontal.count) taps = std::max<int64_t>(taps, count);
  const int64_t grain = rows_per_chunk(out_width * channel_vectors(channels) * taps * 2);
  auto run = [=, vertical = std::move(vertical), horizontal = std::move(horizontal)](const Arguments& a) {
    parallel_range(rows, grain, [&](int64_t first, int64_t last) {
      MaxPoolRow r;
      r.x_end = a.in(0) + end;
      r.y_end = a.out(0) + last * out_width * channels;
      r.channels = channels, r.width = width, r.out_width = out_width;
      r.row_step = vertical.step, r.column_step = horizontal.step;
      r.first = horizontal.first.data(), r.count = horizontal.count.data();
      for (int64_t row = first; row < last; row++) {
        r.x = a.in(0) + row / out_height * sample;
        r.y = a.out(0) + row * out_width * channels;
        r.indices = a.out<int32_t>(1) != nullptr ? a.out<int32_t>(1) + row * out_width * channels : nullptr;
        r.row = vertical.first[size_t(row % out_height)];
        r.rows = vertical.count[size_t(row % out_height)];
        run_row(r);
      }
    });
  };
  return make_function_kernel("rows", std::move(run));
}

// The windows of a pooling problem along the height (axis 0) or the width (axis 1) of its input.
Windows max_windows(const Problem& p, int axis, int64_t input, int64_t output) {
  const size_t i = size_t(axis);
  return pooling_windows(input, output, p.integers("kernel_size")[i], p.integers("stride")[i], p.integers("padding")[i],
                         p.integers("dilation")[i]);
}

KernelPtr make_max_pool2d(const Problem& p) {
  const Spec &x = p.inputs[0], &y = p.outputs[0];
  if (x.rank != 4) return nullptr;
  return max_pool(p, max_windows(p, 0, x.shape[2], y.shape[2]), max_windows(p, 1, x.shape[3], y.shape[3]));
}

KernelPtr make_adaptive_max_pool2d(const Problem& p) {
  const Spec &x = p.inputs[0], &y = p.outputs[0];
  if (x.rank != 4) return nullptr;
  return max_pool(p, adaptive_windows(x.shape[2], y.shape[2]), adaptive_windows(x.shape[3], y.shape[3]));
}

// Where the windows are known every input pixel collects from the few that reach over it: no zeroing, whole vectors,
// and rows independent of each other.
KernelPtr max_pool_grad_gather(const Problem& p) {
  const Spec &grad = p.inputs[0], &dx = p.outputs[0];
  const int64_t height = dx.shape[2], width = dx.shape[3], channels = dx.shape[1], rows = dx.shape[0] * height;
  const int64_t out_height = grad.shape[2], out_width = grad.shape[3], end = grad.elements();
  Windows vertical = covering(max_windows(p, 0, height, out_height), height);
  Windows horizontal = covering(max_windows(p, 1, width, out_width), width);
  const auto run_row = isa().pool.max_grad_row;
  const int64_t grain = rows_per_chunk(width * channel_vectors(channels) * 3);
  auto run = [=, vertical = std::move(vertical), horizontal = std::move(horizontal)](const Arguments& a) {
    parallel_range(rows, grain, [&](int64_t first, int64_t last) {
      MaxPoolGradRow r;
      r.grad_end = a.in(0) + end;
      r.dx_end = a.out(0) + last * width * channels;
      r.channels = channels, r.width = width, r.out_width = out_width;
      r.first = horizontal.first.data(), r.count = horizontal.count.data();
      for (int64_t row = first; row < last; row++) {
        const int64_t sample = row / height * out_height * out_width * channels;
        r.grad = a.in(0) + sample;
        r.indices = a.in<int32_t>(1) + sample;
        r.dx = a.out(0) + row * width * channels;
        r.pixel = int32_t(row % height * width);
        r.row = vertical.first[size_t(row % height)];
        r.rows = vertical.count[size_t(row % height)];
        run_row(r);
      }
    });
  };
  return make_function_kernel("gather", std::move(run));
}

// Any windows: each window adds to its maximum. Samples, and channels of a sample, are independent of each other.
KernelPtr max_pool_grad_scatter(const Problem& p) {
  constexpr int64_t BLOCK = 64;  // channels
  const Spec &grad = p.inputs[0], &dx = p.outputs[0];
  const int64_t channels = dx.shape[1], pixels = dx.shape[2] * dx.shape[3], windows = grad.shape[2] * grad.shape[3];
  const int64_t blocks = ceil_div(channels, BLOCK);
  const int64_t grain = rows_per_chunk((pixels / 4 + windows) * std::min(channels, BLOCK));
  const auto scatter = isa().pool.max_scatter;
  const int64_t items = dx.shape[0] * blocks;
  return make_function_kernel("scatter", [=](const Arguments& a) {
    parallel_range(items, grain, [&](int64_t first, int64_t last) {
      for (int64_t item = first; item < last; item++) {
        const int64_t n = item / blocks, begin = item % blocks * BLOCK;
        const int64_t at = n * windows * channels;
        scatter(a.in(0) + at, a.in<int32_t>(1) + at, a.out(0) + n * pixels * channels, windows, pixels, channels, begin,
                std::min(channels, begin + BLOCK));
      }
    });
  });
}

KernelPtr make_max_pool2d_grad(const Problem& p) {
  if (!is_picture(p.inputs[0]) || !is_picture(p.inputs[1], DType::i32) || !is_picture(p.outputs[0])) return nullptr;
  if (!indexable(p.outputs[0])) return nullptr;
  for (const auto& attribute : p.attributes)
    if (attribute.first == "kernel_size") {
      const std::vector<int64_t> kernel = p.integers("kernel_size"), stride = p.integers("stride");
      // A pixel under very many windows is cheaper to find from the windows' side.
      const int64_t cover = ((kernel[0] - 1) / stride[0] + 1) * ((kernel[1] - 1) / stride[1] + 1);
      if (cover <= isa().vector_floats) return max_pool_grad_gather(p);
    }
  return max_pool_grad_scatter(p);
}

}  // namespace

Family pool_family() {
  return {
      {"max_pool2d", make_max_pool2d},
      {"max_pool2d_grad", make_max_pool2d_grad},
      {"adaptive_max_pool2d", make_adaptive_max_pool2d},
  };
}

}  // namespace coolnn
