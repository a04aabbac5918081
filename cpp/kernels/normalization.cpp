#include "kernels/normalization.h"

#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

template <bool WHOLE> static INLINE vf get(const float* p, int lanes) {
  return WHOLE ? load(p) : load_partial(p, lanes);
}
template <bool WHOLE> static INLINE void put(float* p, vf x, int lanes) {
  if (WHOLE) store(p, x);
  else store_partial(p, x, lanes);
}

// Column sums go along the rows, with the sums in the nearest cache, so that memory is read in one long stream. Short
// rows are taken two at a time: half the loads of sums, and half the terms of long sums. (Several long rows at a time
// would be several streams, and slower.)
constexpr int64_t SHORT = 128;

template <bool WHOLE> static INLINE void add_to(float* p, vf x, int lanes) {
  put<WHOLE>(p, get<WHOLE>(p, lanes) + x, lanes);
}

template <int R, bool WHOLE>
static INLINE void add_sums(const float* x, int64_t stride, float* sum, int lanes) {
  vf total = get<WHOLE>(x, lanes);
  for (int r = 1; r < R; r++) total += get<WHOLE>(x + r * stride, lanes);
  add_to<WHOLE>(sum, total, lanes);
}

template <int R, bool WHOLE>
static INLINE void add_moments(const float* x, int64_t stride, const float* shift, float* sum, float* square,
                               int lanes) {
  const vf m = get<WHOLE>(shift, lanes);
  vf total = zero(), squares = zero();
  for (int r = 0; r < R; r++) {
    const vf d = get<WHOLE>(x + r * stride, lanes) - m;
    total += d, squares = fma(d, d, squares);
  }
  add_to<WHOLE>(sum, total, lanes);
  add_to<WHOLE>(square, squares, lanes);
}

template <int R, bool WHOLE>
static INLINE void add_products(const float* g, const float* x, int64_t stride, const float* mean, float* sum,
                                float* product, int lanes) {
  const vf m = get<WHOLE>(mean, lanes);
  vf total = zero(), products = zero();
  for (int r = 0; r < R; r++) {
    const vf grad = get<WHOLE>(g + r * stride, lanes);
    total += grad, products = fma(grad, get<WHOLE>(x + r * stride, lanes) - m, products);
  }
  add_to<WHOLE>(sum, total, lanes);
  add_to<WHOLE>(product, products, lanes);
}

template <int R> static void sums_of(const float* x, int64_t columns, int64_t stride, float* sum) {
  int64_t c = 0;
  for (; c + VL <= columns; c += VL) add_sums<R, true>(x + c, stride, sum + c, VL);
  if (c < columns) add_sums<R, false>(x + c, stride, sum + c, int(columns - c));
}

template <int R>
static void moments_of(const float* x, int64_t columns, int64_t stride, const float* shift, float* sum, float* square) {
  int64_t c = 0;
  for (; c + VL <= columns; c += VL) add_moments<R, true>(x + c, stride, shift + c, sum + c, square + c, VL);
  if (c < columns) add_moments<R, false>(x + c, stride, shift + c, sum + c, square + c, int(columns - c));
}

template <int R>
static void products_of(const float* g, const float* x, int64_t columns, int64_t stride, const float* mean, float* sum,
                        float* product) {
  int64_t c = 0;
  for (; c + VL <= columns; c += VL) add_products<R, true>(g + c, x + c, stride, mean + c, sum + c, product + c, VL);
  if (c < columns) add_products<R, false>(g + c, x + c, stride, mean + c, sum + c, product + c, int(columns - c));
}

static void clear(float* p, int64_t n) {
  for (int64_t i = 0; i < n; i++) p[i] = 0;
}

static void column_moments(const float* x, int64_t rows, int64_t columns, int64_t stride, float* shift, float* sum,
                           float* square) {
  clear(shift, columns), clear(sum, columns), clear(square, columns);
  int64_t r = 0;
  for (; r + 2 <= rows && columns <= SHORT; r += 2) sums_of<2>(x + r * stride, columns, stride, shift);
  for (; r < rows; r++) sums_of<1>(x + r * stride, columns, stride, shift);
  const float share = 1.0f / float(rows);
  for (int64_t c = 0; c < columns; c++) shift[c] *= share;
  for (r = 0; r + 2 <= rows && columns <= SHORT; r += 2)
    moments_of<2>(x + r * stride, columns, stride, shift, sum, square);
  for (; r < rows; r++) moments_of<1>(x + r * stride, columns, stride, shift, sum, square);
}

static void column_products(const float* g, const float* x, const float* mean, int64_t rows, int64_t columns,
                            int64_t stride, float* sum, float* product) {
  clear(sum, columns), clear(product, columns);
  int64_t r = 0;
  for (; r + 2 <= rows && columns <= SHORT; r += 2)
    products_of<2>(g + r * stride, x + r * stride, columns, stride, mean, sum, product);
  for (; r < rows; r++) products_of<1>(g + r * stride, x + r * stride, columns, stride, mean, sum, product);
}

// The maps below run along whole rows, so that memory is read and written in one stream.
template <bool WHOLE>
static INLINE void affine(const float* x, const float* minus, const float* scale, const float* plus, float* y,
                          int lanes) {
  const vf centred = get<WHOLE>(x, lanes) - get<WHOLE>(minus, lanes);
  put<WHOLE>(y, fma(centred, get<WHOLE>(scale, lanes), get<WHOLE>(plus, lanes)), lanes);
}

static void column_affine(const float* x, const float* minus, const float* scale, const float* plus, float* y,
                          int64_t rows, int64_t columns, int64_t stride) {
  for (int64_t r = 0; r < rows; r++, x += stride, y += stride) {
    int64_t c = 0;
    for (; c + VL <= columns; c += VL) affine<true>(x + c, minus + c, scale + c, plus + c, y + c, VL);
    if (c < columns) affine<false>(x + c, minus + c, scale + c, plus + c, y + c, int(columns - c));
  }
}

template <bool WHOLE>
static INLINE void combine(const float* g, const float* x, const float* mean, const float* a, const float* b,
                           const float* c, float* dx, int lanes) {
  const vf centred = get<WHOLE>(x, lanes) - get<WHOLE>(mean, lanes);
  const vf base = fma(centred, get<WHOLE>(b, lanes), get<WHOLE>(c, lanes));
  put<WHOLE>(dx, fma(get<WHOLE>(g, lanes), get<WHOLE>(a, lanes), base), lanes);
}

static void column_combine(const float* g, const float* x, const float* mean, const float* a, const float* b,
                           const float* c, float* dx, int64_t rows, int64_t columns, int64_t stride) {
  for (int64_t r = 0; r < rows; r++, g += stride, x += stride, dx += stride) {
    int64_t i = 0;
    for (; i + VL <= columns; i += VL) combine<true>(g + i, x + i, mean + i, a + i, b + i, c + i, dx + i, VL);
    if (i < columns) combine<false>(g + i, x + i, mean + i, a + i, b + i, c + i, dx + i, int(columns - i));
  }
}

static void column_scale_shift(const float* x, const float* scale, const float* shift, float* y, int64_t rows,
                               int64_t columns, int64_t stride) {
  for (int64_t r = 0; r < rows; r++, x += stride, y += stride) {
    int64_t c = 0;
    for (; c + VL <= columns; c += VL) store(y + c, fma(load(x + c), load(scale + c), load(shift + c)));
    if (c < columns) {
      const int lanes = int(columns - c);
      const vf factor = load_partial(scale + c, lanes);
      store_partial(y + c, fma(load_partial(x + c, lanes), factor, load_partial(shift + c, lanes)), lanes);
    }
  }
}

// A run is VL columns of n / VL rows, with the few numbers that are left counted one by one.
static float column_sum(const float* x, int64_t n) {
  vf a = zero(), b = zero();
  int64_t i = 0;
  for (; i + 2 * VL <= n; i += 2 * VL) a += load(x + i), b += load(x + i + VL);
  float tail = 0;
  for (; i < n; i++) tail += x[i];
  return sum_lanes(a + b) + tail;
}

static void run_moments(const float* x, int64_t n, float* shift, float* sum, float* square) {
  const float m = column_sum(x, n) / float(n);
  const vf centre = broadcast(m);
  vf a = zero(), b = zero(), a_square = zero(), b_square = zero();
  int64_t i = 0;
  for (; i + 2 * VL <= n; i += 2 * VL) {
    const vf p = load(x + i) - centre, q = load(x + i + VL) - centre;
    a += p, a_square = fma(p, p, a_square);
    b += q, b_square = fma(q, q, b_square);
  }
  float tail = 0, tail_square = 0;
  for (; i < n; i++) tail += x[i] - m, tail_square += (x[i] - m) * (x[i] - m);
  *shift = m;
  *sum = sum_lanes(a + b) + tail;
  *square = sum_lanes(a_square + b_square) + tail_square;
}

static void run_products(const float* g, const float* x, float mean, int64_t n, float* sum, float* product) {
  const vf centre = broadcast(mean);
  vf a = zero(), b = zero(), a_product = zero(), b_product = zero();
  int64_t i = 0;
  for (; i + 2 * VL <= n; i += 2 * VL) {
    const vf p = load(g + i), q = load(g + i + VL);
    a += p, a_product = fma(p, load(x + i) - centre, a_product);
    b += q, b_product = fma(q, load(x + i + VL) - centre, b_product);
  }
  float tail = 0, tail_product = 0;
  for (; i < n; i++) tail += g[i], tail_product += g[i] * (x[i] - mean);
  *sum = sum_lanes(a + b) + tail;
  *product = sum_lanes(a_product + b_product) + tail_product;
}

static void run_affine(const float* x, float minus, float scale, float plus, float* y, int64_t n) {
  const vf m = broadcast(minus), s = broadcast(scale), p = broadcast(plus);
  int64_t i = 0;
  for (; i + VL <= n; i += VL) store(y + i, fma(load(x + i) - m, s, p));
  if (i < n) store_partial(y + i, fma(load_partial(x + i, int(n - i)) - m, s, p), int(n - i));
}

static void run_scale_shift(const float* x, float scale, float shift, float* y, int64_t n) {
  run_affine(x, 0.0f, scale, shift, y, n);
}

static void run_combine(const float* g, const float* x, float mean, float a, float b, float c, float* dx, int64_t n) {
  const vf m = broadcast(mean), va = broadcast(a), vb = broadcast(b), vc = broadcast(c);
  int64_t i = 0;
  for (; i + VL <= n; i += VL) store(dx + i, fma(load(g + i), va, fma(load(x + i) - m, vb, vc)));
  if (i < n) {
    const int lanes = int(n - i);
    const vf base = fma(load_partial(x + i, lanes) - m, vb, vc);
    store_partial(dx + i, fma(load_partial(g + i, lanes), va, base), lanes);
  }
}

template <bool WHOLE>
static INLINE void layer_norm_vector(const float* x, const float* weight, const float* bias, vf shift, vf rest,
                                     vf scale, float* y, int lanes) {
  const vf normal = ((get<WHOLE>(x, lanes) - shift) - rest) * scale;
  const vf w = weight ? get<WHOLE>(weight, lanes) : broadcast(1.0f), b = bias ? get<WHOLE>(bias, lanes) : zero();
  put<WHOLE>(y, fma(normal, w, b), lanes);
}

static void layer_norm_row(const float* x, const float* weight, const float* bias, double eps, float* y, float* mean,
                           float* rstd, int64_t n) {
  float shift, sum, square;
  run_moments(x, n, &shift, &sum, &square);
  const double rest = double(sum) / double(n), variance = double(square) / double(n) - rest * rest;
  const double scale = 1.0 / __builtin_sqrt((variance > 0 || variance != variance ? variance : 0) + eps);
  *mean = float(shift + rest);
  *rstd = float(scale);
  const vf m = broadcast(shift), r = broadcast(float(rest)), s = broadcast(float(scale));
  int64_t i = 0;
  for (; i + VL <= n; i += VL)
    layer_norm_vector<true>(x + i, weight ? weight + i : 0, bias ? bias + i : 0, m, r, s, y + i, VL);
  if (i < n)
    layer_norm_vector<false>(x + i, weight ? weight + i : 0, bias ? bias + i : 0, m, r, s, y + i, int(n - i));
}

// What both passes over a row need: the gradient for the normalised numbers and these numbers.
template <bool WHOLE>
static INLINE void layer_norm_terms(const float* g, const float* x, const float* weight, vf mean, vf rstd, vf* slope,
                                    vf* normal, int lanes) {
  *slope = get<WHOLE>(g, lanes);
  if (weight) *slope *= get<WHOLE>(weight, lanes);
  *normal = (get<WHOLE>(x, lanes) - mean) * rstd;
}

template <bool WHOLE>
static INLINE void layer_norm_parameters(const float* g, vf normal, float* dweight, float* dbias, int lanes) {
  const vf grad = get<WHOLE>(g, lanes);
  put<WHOLE>(dweight, fma(grad, normal, get<WHOLE>(dweight, lanes)), lanes);
  put<WHOLE>(dbias, get<WHOLE>(dbias, lanes) + grad, lanes);
}

static void layer_norm_grad_row(const float* g, const float* x, const float* weight, float mean, float rstd, float* dx,
                                float* dweight, float* dbias, int64_t n) {
  const vf m = broadcast(mean), r = broadcast(rstd);
  vf sum = zero(), product = zero(), slope, normal;
  int64_t i = 0;
  for (; i + VL <= n; i += VL) {
    layer_norm_terms<true>(g + i, x + i, weight ? weight + i : 0, m, r, &slope, &normal, VL);
    layer_norm_parameters<true>(g + i, normal, dweight + i, dbias + i, VL);
    sum += slope, product = fma(slope, normal, product);
  }
  const int lanes = int(n - i);
  if (lanes > 0) {  // lanes beyond have a zero slope
    layer_norm_terms<false>(g + i, x + i, weight ? weight + i : 0, m, r, &slope, &normal, lanes);
    layer_norm_parameters<false>(g + i, normal, dweight + i, dbias + i, lanes);
    sum += slope, product = fma(slope, normal, product);
  }
  const vf a = broadcast(-sum_lanes(sum) / float(n)), b = broadcast(-sum_lanes(product) / float(n));
  for (i = 0; i + VL <= n; i += VL) {
    layer_norm_terms<true>(g + i, x + i, weight ? weight + i : 0, m, r, &slope, &normal, VL);
    store(dx + i, (fma(normal, b, slope) + a) * r);
  }
  if (lanes > 0) {
    layer_norm_terms<false>(g + i, x + i, weight ? weight + i : 0, m, r, &slope, &normal, lanes);
    store_partial(dx + i, (fma(normal, b, slope) + a) * r, lanes);
  }
}

extern const NormalizationTable normalization_table;
const NormalizationTable normalization_table = {
    column_moments,     run_moments,     column_affine,   run_affine,
    column_products,    run_products,    column_combine,  run_combine,
    column_scale_shift, run_scale_shift, layer_norm_row,  layer_norm_grad_row,
};

}  // namespace COOLNN_ISA
}  // namespace coolnn
