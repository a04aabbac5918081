// Pictures turned, shifted, scaled and sheared (data augmentation): bilinear sampling where a matrix a picture says.
// Runs on the calling thread alone: it is called by the threads that prepare batches, beside the training.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernel.h"

namespace coolnn {
namespace {

enum class Border { constant, edge, reflect };

// A coordinate that may lie outside the axis 0 .. length - 1, as one from -1 to length, where -1 and length are the
// first places that see nothing of the picture. NaN becomes -1.
float inside(float at, int64_t length, Border border) {
  const float last = float(length - 1);
  if (at >= 0 && at <= last) return at;
  if (border == Border::reflect) {
    const float period = 2 * last;
    at = period > 0 ? std::fmod(std::fabs(at), period) : 0.0f;
    at = at > last ? period - at : at;
  }
  const float low = border == Border::constant ? -1.0f : 0.0f;
  const float high = border == Border::constant ? last + 1 : last;
  return at > low ? (at < high ? at : high) : low;
}

uint8_t rounded(float value, uint8_t) { return uint8_t(value + 0.5f); }
float rounded(float value, float) { return value; }

template <class T> struct Warp {
  int64_t channels, height, width, out_height, out_width;
  Border border;
  T fill;

  // With a border of one pixel before and two behind, so that all four neighbours of any place can be read.
  int64_t padded_row() const { return (width + 3) * channels; }
  size_t padded_bytes() const { return size_t((height + 3) * padded_row()) * sizeof(T); }

  void pad(const T* x, T* padded) const {
    const int64_t row = padded_row(), pixels = width * channels;
    std::fill(padded, padded + (height + 3) * row, fill);
    for (int64_t y = 0; y < height; y++)
      std::memcpy(padded + (y + 1) * row + channels, x + y * pixels, size_t(pixels) * sizeof(T));
  }

  // C: the number of channels where the compiler knows it, else 0.
  template <int C> void sample(const T* padded, const double* m, T* out) const {
    const int64_t c = C > 0 ? C : channels, row = padded_row();
    const float right = float(m[0]), down = float(m[3]);
    for (int64_t y = 0; y < out_height; y++) {
      const float x_start = float(m[1] * double(y) + m[2]), y_start = float(m[4] * double(y) + m[5]);
      for (int64_t x = 0; x < out_width; x++, out += c) {
        const float px = inside(x_start + right * float(x), width, border) + 1;
        const float py = inside(y_start + down * float(x), height, border) + 1;
        const int64_t ix = int64_t(px), iy = int64_t(py);
        const float fx = px - float(ix), fy = py - float(iy);
        const T* above = padded + iy * row + ix * c;
        const T* below = above + row;
        for (int64_t i = 0; i < c; i++) {
          const float top = float(above[i]) + (float(above[i + c]) - float(above[i])) * fx;
          const float bottom = float(below[i]) + (float(below[i + c]) - float(below[i])) * fx;
          out[i] = rounded(top + (bottom - top) * fy, T());
        }
      }
    }
  }

  void picture(const T* x, const double* m, T* out, T* padded) const {
    pad(x, padded);
    if (channels == 1) sample<1>(padded, m, out);
    else if (channels == 3) sample<3>(padded, m, out);
    else sample<0>(padded, m, out);
  }
};

template <class T> KernelPtr make(const Problem& p, Border border) {
  const Spec &x = p.inputs[0], &y = p.outputs[0];
  const Warp<T> warp{x.shape[1], x.shape[2], x.shape[3], y.shape[2], y.shape[3], border, T(p.number("fill", 0.0))};
  const int64_t pictures = x.shape[0], size = x.shape[1] * x.shape[2] * x.shape[3];
  const int64_t out_size = y.shape[1] * y.shape[2] * y.shape[3];
  auto run = [=](const Arguments& a) {
    for (int64_t i = 0; i < pictures; i++)
      warp.picture(a.in<T>(0) + i * size, a.in<double>(1) + i * 6, a.out<T>(0) + i * out_size,
                   static_cast<T*>(a.workspace));
  };
  return make_function_kernel("bilinear", std::move(run), warp.padded_bytes());
}

// warp(x (N,C,H,W) u8|f32, matrices (N,2,3) f64; border, fill) -> y (N,C,H',W'): y at (column, row) is x at
// matrix * (column, row, 1), coordinates counted from the middle of the top left pixel.
KernelPtr make_warp(const Problem& p) {
  const Spec &x = p.inputs[0], &m = p.inputs[1], &y = p.outputs[0];
  const std::string name = p.text("border", "constant");
  const Border border = name == "reflect" ? Border::reflect : name == "edge" ? Border::edge : Border::constant;
  if (x.rank != 4 || y.rank != 4 || x.dtype != y.dtype || x.shape[0] != y.shape[0] || x.shape[1] != y.shape[1] ||
      m.dtype != DType::f64 || m.rank != 3 || m.shape[0] != x.shape[0] || m.shape[1] != 2 || m.shape[2] != 3 ||
      x.shape[2] < 1 || x.shape[3] < 1)
    return nullptr;
  if (x.dtype == DType::u8) return make<uint8_t>(p, border);
  if (x.dtype == DType::f32) return make<float>(p, border);
  return nullptr;
}

}  // namespace

Family warp_family() { return {{"warp", make_warp}}; }

}  // namespace coolnn
