// Pictures turned, shifted, scaled and sheared (data augmentation): bilinear sampling where a matrix a picture says.
// Runs on the calling thread alone: it is called by the threads that prepare batches, beside the training.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernel.h"

namespace coolnn {
namespace {

enum class Border { constant, edge, reflect };

// A coordinate outside the axis 0 .. length - 1, mirrored about its first and last place until it lies inside.
float mirrored(float at, int64_t length) {
  const float last = float(length - 1), period = 2 * last;
  if (period == 0) return 0;
  at = std::fmod(std::fabs(at), period);
  return at > last ? period - at : at;
}

// Where the pixels of a row come from along one axis, as the place before (counted from the border that `pad` adds) and
// how far they are beyond it: start + step * x, held between low and high. NaN becomes low.
void places(float start, float step, float low, float high, int64_t n, int32_t* whole, float* part) {
  for (int32_t x = 0; x < int32_t(n); x++) {
    float at = start + step * float(x);
    at = at > low ? at : low;
    at = (at < high ? at : high) + 1;
    whole[x] = int32_t(at);
    part[x] = at - float(whole[x]);
  }
}

uint8_t rounded(float value, uint8_t) { return uint8_t(value + 0.5f); }
float rounded(float value, float) { return value; }

// Places of the pixels of one row of the result.
struct Row {
  int32_t *x, *y;
  float *right, *below;
};

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

  void row_places(float start, float step, int64_t length, int32_t* whole, float* part) const {
    const bool beyond = border == Border::constant;  // -1 and length are the first places that see only the border
    const float low = beyond ? -1.0f : 0.0f, high = float(beyond ? length : length - 1);
    if (border != Border::reflect) return places(start, step, low, high, out_width, whole, part);
    for (int64_t x = 0; x < out_width; x++)
      places(mirrored(start + step * float(x), length), 0, low, high, 1, whole + x, part + x);
  }

  // C: the number of channels where the compiler knows it, else 0.
  template <int C> void sample(const T* padded, const double* m, T* out, Row at) const {
    const int64_t c = C > 0 ? C : channels, row = padded_row();
    for (int64_t y = 0; y < out_height; y++) {
      row_places(float(m[1] * double(y) + m[2]), float(m[0]), width, at.x, at.right);
      row_places(float(m[4] * double(y) + m[5]), float(m[3]), height, at.y, at.below);
      for (int64_t x = 0; x < out_width; x++, out += c) {
        const float fx = at.right[x], fy = at.below[x];
        const T* upper = padded + at.y[x] * row + at.x[x] * c;
        const T* lower = upper + row;
        for (int64_t i = 0; i < c; i++) {
          const float top = float(upper[i]) + (float(upper[i + c]) - float(upper[i])) * fx;
          const float bottom = float(lower[i]) + (float(lower[i + c]) - float(lower[i])) * fx;
          out[i] = rounded(top + (bottom - top) * fy, T());
        }
      }
    }
  }

  size_t workspace_bytes() const { return size_t(out_width) * 16 + padded_bytes(); }

  void picture(const T* x, const double* m, T* out, void* workspace) const {
    int32_t* const whole = static_cast<int32_t*>(workspace);
    float* const parts = reinterpret_cast<float*>(whole + 2 * out_width);
    T* const padded = reinterpret_cast<T*>(parts + 2 * out_width);
    const Row row{whole, whole + out_width, parts, parts + out_width};
    pad(x, padded);
    if (channels == 1) sample<1>(padded, m, out, row);
    else if (channels == 3) sample<3>(padded, m, out, row);
    else sample<0>(padded, m, out, row);
  }
};

template <class T> KernelPtr make(const Problem& p, Border border) {
  const Spec &x = p.inputs[0], &y = p.outputs[0];
  const Warp<T> warp{x.shape[1], x.shape[2], x.shape[3], y.shape[2], y.shape[3], border, T(p.number("fill", 0.0))};
  const int64_t pictures = x.shape[0], size = x.shape[1] * x.shape[2] * x.shape[3];
  const int64_t out_size = y.shape[1] * y.shape[2] * y.shape[3];
  auto run = [=](const Arguments& a) {
    for (int64_t i = 0; i < pictures; i++)
      warp.picture(a.in<T>(0) + i * size, a.in<double>(1) + i * 6, a.out<T>(0) + i * out_size, a.workspace);
  };
  return make_function_kernel("bilinear", std::move(run), warp.workspace_bytes());
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
