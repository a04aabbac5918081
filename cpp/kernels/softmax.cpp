// Softmax, its logarithm and what cross entropy needs of it. The maximum is taken off first, so nothing overflows. It
// passes over NaN, which then comes back through exp and the sum.
#include "kernels/softmax.h"

#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

// The last, incomplete vector of a row; the lanes beyond read as `fill`.
static INLINE vf load_tail(const float* p, int lanes, float fill) {
  vi lane;
  for (int i = 0; i < VL; i++) lane[i] = i;
  return select(lane < lanes, load_partial(p, lanes), broadcast(fill));
}

// BODY for every whole vector of a row, at i, and TAIL for what is left, with `lanes` lanes.
#define FOR_VECTORS(i, n, BODY, TAIL) \
  {                                   \
    int64_t i = 0;                    \
    for (; i + VL <= (n); i += VL) {  \
      BODY;                           \
    }                                 \
    if (i < (n)) {                    \
      const int lanes = int((n)-i);   \
      TAIL;                           \
    }                                 \
  }

static INLINE float maximum_of(const float* x, int64_t n) {
  vf m = broadcast(-__builtin_inff());
  FOR_VECTORS(i, n, m = max(load(x + i), m), m = max(load_tail(x + i, lanes, -__builtin_inff()), m));
  return max_lanes(m);
}

static INLINE float sum_of_exp(const float* x, int64_t n, float maximum) {
  const vf m = broadcast(maximum);
  vf sum = zero();
  FOR_VECTORS(i, n, sum += exp(load(x + i) - m), sum += exp(load_tail(x + i, lanes, -__builtin_inff()) - m));
  return sum_lanes(sum);
}

// y = exp(x - maximum); the sum of y.
static INLINE float exponentials(const float* x, float* y, int64_t n, float maximum) {
  const vf m = broadcast(maximum);
  vf sum = zero();
  FOR_VECTORS(
      i, n,
      {
        const vf e = exp(load(x + i) - m);
        store(y + i, e);
        sum += e;
      },
      {
        const vf e = exp(load_tail(x + i, lanes, -__builtin_inff()) - m);
        store_partial(y + i, e, lanes);
        sum += e;
      });
  return sum_lanes(sum);
}

static void softmax_rows(const float* x, float* y, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++, x += n, y += n) {
    const vf scale = broadcast(1.0f / exponentials(x, y, n, maximum_of(x, n)));
    FOR_VECTORS(i, n, store(y + i, load(y + i) * scale),
                store_partial(y + i, load_partial(y + i, lanes) * scale, lanes));
  }
}

static void log_softmax_rows(const float* x, float* y, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++, x += n, y += n) {
    const float maximum = maximum_of(x, n);
    const vf m = broadcast(maximum), log_sum = log(broadcast(sum_of_exp(x, n, maximum)));
    FOR_VECTORS(i, n, store(y + i, (load(x + i) - m) - log_sum),
                store_partial(y + i, (load_partial(x + i, lanes) - m) - log_sum, lanes));
  }
}

static void softmax_grad_rows(const float* grad, const float* y, float* dx, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++, grad += n, y += n, dx += n) {
    vf sum = zero();
    FOR_VECTORS(i, n, sum = fma(load(grad + i), load(y + i), sum),
                sum = fma(load_partial(grad + i, lanes), load_partial(y + i, lanes), sum));
    const vf mean = broadcast(sum_lanes(sum));
    FOR_VECTORS(
        i, n, store(dx + i, load(y + i) * (load(grad + i) - mean)),
        store_partial(dx + i, load_partial(y + i, lanes) * (load_partial(grad + i, lanes) - mean), lanes));
  }
}

static void log_softmax_grad_rows(const float* grad, const float* y, float* dx, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++, grad += n, y += n, dx += n) {
    vf sum = zero();
    FOR_VECTORS(i, n, sum += load(grad + i), sum += load_partial(grad + i, lanes));
    const vf total = broadcast(-sum_lanes(sum));
    FOR_VECTORS(
        i, n, store(dx + i, fma(exp(load(y + i)), total, load(grad + i))),
        store_partial(dx + i, fma(exp(load_partial(y + i, lanes)), total, load_partial(grad + i, lanes)), lanes));
  }
}

// Strided: every lane is a softmax of its own. WHOLE vectors of lanes first, then the lanes that are left.
template <bool WHOLE> static INLINE vf get(const float* p, int lanes) {
  return WHOLE ? load(p) : load_partial(p, lanes);
}
template <bool WHOLE> static INLINE void put(float* p, vf x, int lanes) {
  if (WHOLE) store(p, x);
  else store_partial(p, x, lanes);
}

// Terms added up on their own before they join a lane's sum, which keeps the error of long sums small.
constexpr int64_t GROUP = 32;

template <bool WHOLE, bool LOG>
static INLINE void softmax_lanes(const float* x, float* y, int64_t n, int64_t stride, int lanes) {
  vf m = broadcast(-__builtin_inff()), sum = zero();
  for (int64_t i = 0; i < n; i++) m = max(get<WHOLE>(x + i * stride, lanes), m);
  for (int64_t i = 0; i < n;) {
    vf part = zero();
    for (const int64_t end = i + GROUP < n ? i + GROUP : n; i < end; i++) {
      const vf e = exp(get<WHOLE>(x + i * stride, lanes) - m);
      if (!LOG) put<WHOLE>(y + i * stride, e, lanes);
      part += e;
    }
    sum += part;
  }
  if (LOG) {
    const vf log_sum = log(sum);
    for (int64_t i = 0; i < n; i++) {
      const vf shifted = get<WHOLE>(x + i * stride, lanes) - m;
      put<WHOLE>(y + i * stride, shifted - log_sum, lanes);
    }
  } else {
    const vf scale = broadcast(1.0f) / sum;
    for (int64_t i = 0; i < n; i++) put<WHOLE>(y + i * stride, get<WHOLE>(y + i * stride, lanes) * scale, lanes);
  }
}

template <bool WHOLE, bool LOG>
static INLINE void softmax_grad_lanes(const float* grad, const float* y, float* dx, int64_t n, int64_t stride,
                                      int lanes) {
  vf sum = zero();
  for (int64_t i = 0; i < n;) {
    vf part = zero();
    for (const int64_t end = i + GROUP < n ? i + GROUP : n; i < end; i++) {
      const vf g = get<WHOLE>(grad + i * stride, lanes);
      part = LOG ? part + g : fma(g, get<WHOLE>(y + i * stride, lanes), part);
    }
    sum += part;
  }
  for (int64_t i = 0; i < n; i++) {
    const vf g = get<WHOLE>(grad + i * stride, lanes), out = get<WHOLE>(y + i * stride, lanes);
    put<WHOLE>(dx + i * stride, LOG ? g - exp(out) * sum : out * (g - sum), lanes);
  }
}

template <bool LOG> static void softmax_strided(const float* x, float* y, int64_t n, int64_t stride, int64_t count) {
  int64_t i = 0;
  for (; i + VL <= count; i += VL) softmax_lanes<true, LOG>(x + i, y + i, n, stride, VL);
  if (i < count) softmax_lanes<false, LOG>(x + i, y + i, n, stride, int(count - i));
}

template <bool LOG>
static void softmax_grad_strided(const float* grad, const float* y, float* dx, int64_t n, int64_t stride,
                                 int64_t count) {
  int64_t i = 0;
  for (; i + VL <= count; i += VL) softmax_grad_lanes<true, LOG>(grad + i, y + i, dx + i, n, stride, VL);
  if (i < count) softmax_grad_lanes<false, LOG>(grad + i, y + i, dx + i, n, stride, int(count - i));
}

static INLINE float weighted_deficit(const float* x, const float* weight, int64_t n, float maximum) {
  const vf m = broadcast(maximum), one = broadcast(1.0f);
  vf sum = zero();
  FOR_VECTORS(i, n, sum = fma(m - load(x + i), weight ? load(weight + i) : one, sum), {
    // Lanes beyond the row count nothing: their weight is zero, or their difference.
    const vf difference = m - load_tail(x + i, lanes, maximum);
    sum = fma(difference, weight ? load_partial(weight + i, lanes) : one, sum);
  });
  return sum_lanes(sum);
}

static void exp_sum_rows(const float* x, const float* weight, float* maximum, float* sum, float* deficit, int64_t rows,
                         int64_t n) {
  for (int64_t r = 0; r < rows; r++, x += n) {
    maximum[r] = maximum_of(x, n);
    sum[r] = sum_of_exp(x, n, maximum[r]);
    if (deficit) deficit[r] = weighted_deficit(x, weight, n, maximum[r]);
  }
}

static void cross_entropy_grad_row(const float* x, const float* weight, float a, float b, float* dx, int64_t n) {
  const vf scale = broadcast(a / exponentials(x, dx, n, maximum_of(x, n))), share = broadcast(-b);
  const vf one = broadcast(1.0f);
  FOR_VECTORS(i, n, store(dx + i, fma(load(dx + i), scale, share * (weight ? load(weight + i) : one))), {
    const vf w = weight ? load_partial(weight + i, lanes) : one;
    store_partial(dx + i, fma(load_partial(dx + i, lanes), scale, share * w), lanes);
  });
}

extern const SoftmaxTable softmax_table;
const SoftmaxTable softmax_table = {
    softmax_rows,
    log_softmax_rows,
    softmax_grad_rows,
    log_softmax_grad_rows,
    softmax_strided<false>,
    softmax_strided<true>,
    softmax_grad_strided<false>,
    softmax_grad_strided<true>,
    exp_sum_rows,
    cross_entropy_grad_row,
};

}  // namespace COOLNN_ISA
}  // namespace coolnn
