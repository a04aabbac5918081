// Pictures through an affine map, bilinearly, with 0 outside, and the gradient of that for the pictures.
#include <algorithm>

#include "kernel.h"
#include "parallel.h"
#include "rounding.h"

namespace coolnn {
namespace {

constexpr int64_t BAND = 8;  // rows of a result that are a chunk's work

// Where a pixel looks, along one axis: the place before and how far beyond it. Far outside is as good as just outside,
// and so is NaN; the places -2 and length + 1 see nothing.
struct At {
  int64_t whole;
  float part;

  At(double at, int64_t length) {
    at = at > -2.0 ? at : -2.0;
    at = at < double(length) + 1.0 ? at : double(length) + 1.0;
    whole = int64_t(at + 2.0) - 2;  // floor, without a call of it
    part = float(at - double(whole));
  }
};

struct Map {
  double m[6];
  explicit Map(const float* matrix) { std::copy(matrix, matrix + 6, m); }
  double column(int64_t u, int64_t v) const { return m[0] * double(u) + m[1] * double(v) + m[2]; }
  double row(int64_t u, int64_t v) const { return m[3] * double(u) + m[4] * double(v) + m[5]; }
};

struct Sizes {
  int64_t pictures, channels, height, width, out_height, out_width;  // of x, and of what is sampled from it
  int64_t x_picture() const { return channels * height * width; }
  int64_t y_picture() const { return channels * out_height * out_width; }
};

bool sees(const At& at, int64_t length) { return at.whole >= -1 && at.whole < length; }

// Calls f(pixel, weight) for each of the four neighbours that lies in the picture, between rows `first` and `last`.
template <class F>
void neighbours(const Sizes& s, const At& row, const At& column, int64_t first, int64_t last, F&& f) {
  for (int i = 0; i < 2; i++) {
    const int64_t y = row.whole + i;
    if (y < first || y >= last) continue;
    const float down = i ? row.part : 1 - row.part;
    for (int j = 0; j < 2; j++) {
      const int64_t x = column.whole + j;
      if (x >= 0 && x < s.width) f(y * s.width + x, down * (j ? column.part : 1 - column.part));
    }
  }
}

// C: the number of channels where the compiler knows it, else 0.
template <int C>
void sample_rows(const Sizes& s, const Map& map, const float* x, float* y, int64_t first, int64_t last) {
  const int64_t c = C > 0 ? C : s.channels;
  for (int64_t v = first; v < last; v++)
    for (int64_t u = 0; u < s.out_width; u++) {
      float* const out = y + (v * s.out_width + u) * c;
      std::fill(out, out + c, 0.0f);
      const At row(map.row(u, v), s.height), column(map.column(u, v), s.width);
      neighbours(s, row, column, 0, s.height, [&](int64_t pixel, float weight) {
        for (int64_t i = 0; i < c; i++) out[i] += weight * x[pixel * c + i];
      });
    }
}

// Rows `first` to `last` of the gradient: all pixels of the result that look there are passed in their order, whoever
// has which rows, so that sums are the same bits on any number of threads.
template <int C>
void gather_rows(const Sizes& s, const Map& map, const float* grad, float* dx, int64_t first, int64_t last) {
  const int64_t c = C > 0 ? C : s.channels;
  std::fill(dx + first * s.width * c, dx + last * s.width * c, 0.0f);
  for (int64_t v = 0; v < s.out_height; v++) {
    const double begin = map.row(0, v), end = map.row(s.out_width - 1, v);
    if (std::max(begin, end) < double(first - 1) || std::min(begin, end) > double(last)) continue;
    for (int64_t u = 0; u < s.out_width; u++) {
      const At row(map.row(u, v), s.height);
      if (row.whole + 1 < first || row.whole >= last) continue;
      const At column(map.column(u, v), s.width);
      if (!sees(column, s.width)) continue;
      const float* const g = grad + (v * s.out_width + u) * c;
      neighbours(s, row, column, first, last, [&](int64_t pixel, float weight) {
        for (int64_t i = 0; i < c; i++) dx[pixel * c + i] += weight * g[i];
      });
    }
  }
}

bool accepts(const Spec& x, const Spec& m, const Spec& y) {
  return x.rank == 4 && y.rank == 4 && m.rank == 3 && x.dtype == DType::f32 && m.dtype == DType::f32 &&
         y.dtype == DType::f32 && m.shape[0] == x.shape[0] && m.shape[1] == 2 && m.shape[2] == 3 &&
         x.elements() > 0 && y.elements() > 0;
}

Sizes sizes_of(const Spec& x, const Spec& y) {
  return {x.shape[0], x.shape[1], x.shape[2], x.shape[3], y.shape[2], y.shape[3]};
}

// affine_sample(x (N,C,H,W), matrices (N,2,3); size) -> y (N,C,H',W'), all float32: y at (column, row) is x at
// matrix * (column, row, 1), coordinates counted from the middle of the top left pixel.
KernelPtr make_affine_sample(const Problem& p) {
  if (!accepts(p.inputs[0], p.inputs[1], p.outputs[0])) return nullptr;
  const Sizes s = sizes_of(p.inputs[0], p.outputs[0]);
  const auto run = s.channels == 1 ? sample_rows<1> : s.channels == 3 ? sample_rows<3> : sample_rows<0>;
  const int64_t bands = ceil_div(s.out_height, BAND);
  return make_function_kernel("bilinear", [=](const Arguments& a) {
    parallel_for(s.pictures * bands, [&](int64_t chunk, int) {
      const int64_t picture = chunk / bands, first = chunk % bands * BAND;
      run(s, Map(a.in(1) + picture * 6), a.in(0) + picture * s.x_picture(), a.out(0) + picture * s.y_picture(), first,
          std::min(first + BAND, s.out_height));
    });
  });
}

// affine_sample_grad(grad (N,C,H',W'), matrices (N,2,3); input_size) -> dx (N,C,H,W)
KernelPtr make_affine_sample_grad(const Problem& p) {
  if (!accepts(p.inputs[0], p.inputs[1], p.outputs[0])) return nullptr;
  const Sizes s = sizes_of(p.outputs[0], p.inputs[0]);
  const auto run = s.channels == 1 ? gather_rows<1> : s.channels == 3 ? gather_rows<3> : gather_rows<0>;
  const int64_t bands = ceil_div(s.height, BAND);
  return make_function_kernel("bilinear", [=](const Arguments& a) {
    parallel_for(s.pictures * bands, [&](int64_t chunk, int) {
      const int64_t picture = chunk / bands, first = chunk % bands * BAND;
      run(s, Map(a.in(1) + picture * 6), a.in(0) + picture * s.y_picture(), a.out(0) + picture * s.x_picture(), first,
          std::min(first + BAND, s.height));
    });
  });
}

}  // namespace

Family affine_family() {
  return {{"affine_sample", make_affine_sample}, {"affine_sample_grad", make_affine_sample_grad}};
}

}  // namespace coolnn
