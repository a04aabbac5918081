#include "kernels/reduce.h"

#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {
namespace {

// Vectors of doubles, and of half as many floats as usual, which become one.
constexpr int DOUBLES = VL / 2;
typedef double vd __attribute__((vector_size(VL * 4)));
typedef float half_unaligned __attribute__((vector_size(VL * 2), aligned(4), may_alias));

INLINE vd load_wide(const float* p) { return __builtin_convertvector(*(const half_unaligned*)p, vd); }

INLINE double sum_lanes(vd x) {
  double lane[DOUBLES];
  for (int i = 0; i < DOUBLES; i++) lane[i] = x[i];
  for (int half = DOUBLES / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) lane[i] += lane[i + half];
  return lane[0];
}

void sum_rows(const float* x, double* out, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++, x += n) {
    vd a{}, b{}, c{}, d{};
    int64_t i = 0;
    for (; i + 4 * DOUBLES <= n; i += 4 * DOUBLES) {
      a += load_wide(x + i), b += load_wide(x + i + DOUBLES);
      c += load_wide(x + i + 2 * DOUBLES), d += load_wide(x + i + 3 * DOUBLES);
    }
    for (; i + DOUBLES <= n; i += DOUBLES) a += load_wide(x + i);
    double total = sum_lanes((a + b) + (c + d));
    for (; i < n; i++) total += x[i];
    out[r] = total;
  }
}

template <int COUNT> INLINE void sum_strip(const float* x, int64_t pitch, double* out, int64_t n) {
  vd total[COUNT] = {};
  for (int64_t r = 0; r < n; r++) {
#pragma GCC unroll 8
    for (int k = 0; k < COUNT; k++) total[k] += load_wide(x + r * pitch + k * DOUBLES);
  }
  for (int k = 0; k < COUNT; k++)
    for (int i = 0; i < DOUBLES; i++) out[k * DOUBLES + i] = total[k][i];
}

void sum_columns(const float* x, int64_t pitch, double* out, int64_t n, int64_t columns) {
  int64_t c = 0;
  for (; c + 8 * DOUBLES <= columns; c += 8 * DOUBLES) sum_strip<8>(x + c, pitch, out + c, n);
  for (; c + DOUBLES <= columns; c += DOUBLES) sum_strip<1>(x + c, pitch, out + c, n);
  for (; c < columns; c++) {
    double total = 0;
    for (int64_t r = 0; r < n; r++) total += x[r * pitch + c];
    out[c] = total;
  }
}

// --- extremes --------------------------------------------------------------------------------------------------------

struct Max {
  static constexpr float START = -__builtin_inff();
  static INLINE vf of(vf a, vf b) { return select((b > a) | (b != b), b, a); }  // a NaN in a stays, one in b enters
  static INLINE float of(float a, float b) { return b > a || b != b ? b : a; }
};
struct Min {
  static constexpr float START = __builtin_inff();
  static INLINE vf of(vf a, vf b) { return select((b < a) | (b != b), b, a); }
  static INLINE float of(float a, float b) { return b < a || b != b ? b : a; }
};

template <class F> void extreme_rows(const float* x, double* out, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++, x += n) {
    vf a = broadcast(F::START), b = a;
    int64_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL) a = F::of(a, load(x + i)), b = F::of(b, load(x + i + VL));
    a = F::of(a, b);
    float best = F::START;
    if (i > 0)
      for (int lane = 0; lane < VL; lane++) best = F::of(best, a[lane]);
    for (; i < n; i++) best = F::of(best, x[i]);
    out[r] = best;
  }
}

template <class F, int COUNT>
INLINE void extreme_strip(const float* x, int64_t pitch, double* out, int64_t n, int last_lanes) {
  vf best[COUNT];
  for (int k = 0; k < COUNT; k++) best[k] = broadcast(F::START);
  for (int64_t r = 0; r < n; r++) {
#pragma GCC unroll 8
    for (int k = 0; k < COUNT; k++) {
      const float* at = x + r * pitch + k * VL;
      best[k] = F::of(best[k], last_lanes == VL ? load(at) : load_partial(at, last_lanes));
    }
  }
  for (int i = 0; i < (COUNT - 1) * VL + last_lanes; i++) out[i] = best[i / VL][i % VL];
}

template <class F> void extreme_columns(const float* x, int64_t pitch, double* out, int64_t n, int64_t columns) {
  int64_t c = 0;
  for (; c + 4 * VL <= columns; c += 4 * VL) extreme_strip<F, 4>(x + c, pitch, out + c, n, VL);
  for (; c + VL <= columns; c += VL) extreme_strip<F, 1>(x + c, pitch, out + c, n, VL);
  if (c < columns) extreme_strip<F, 1>(x + c, pitch, out + c, n, int(columns - c));
}

// --- places of extremes ----------------------------------------------------------------------------------------------

template <bool LARGEST> INLINE vi better(vf x, vf best) {
  return (LARGEST ? x > best : x < best) | ((x != x) & (best == best));
}
template <bool LARGEST> INLINE bool better(float x, float best) {
  return (LARGEST ? x > best : x < best) || (x != x && best == best);
}

INLINE vi lane_numbers() {
  vi lanes;
  for (int i = 0; i < VL; i++) lanes[i] = i;
  return lanes;
}

template <bool LARGEST> int64_t arg_row(const float* x, int64_t n) {
  float best = x[0];
  int64_t place = 0, i = 1;
  if (n >= VL) {
    vf lane_best = load(x);
    vi lane_place = lane_numbers(), here = lane_place;
    for (i = VL; i + VL <= n; i += VL) {
      const vf value = load(x + i);
      here = here + VL;
      const vi wins = better<LARGEST>(value, lane_best);
      lane_best = select(wins, value, lane_best);
      lane_place = wins ? here : lane_place;
    }
    best = lane_best[0], place = lane_place[0];
    for (int lane = 1; lane < VL; lane++) {
      const bool equal = lane_best[lane] == best || (lane_best[lane] != lane_best[lane] && best != best);
      if (better<LARGEST>(lane_best[lane], best) || (equal && lane_place[lane] < place))
        best = lane_best[lane], place = lane_place[lane];
    }
  }
  for (; i < n; i++)
    if (better<LARGEST>(x[i], best)) best = x[i], place = i;
  return place;
}

template <bool LARGEST> void arg_rows(const float* x, int64_t* out, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++) out[r] = arg_row<LARGEST>(x + r * n, n);
}

template <bool LARGEST> void arg_columns(const float* x, int64_t pitch, int64_t* out, int64_t n, int64_t columns) {
  for (int64_t c = 0; c < columns; c += VL) {
    const int lanes = columns - c < VL ? int(columns - c) : VL;
    const auto row = [&](int64_t r) {
      const float* at = x + r * pitch + c;
      return lanes == VL ? load(at) : load_partial(at, lanes);
    };
    vf best = row(0);
    vi place{};
    for (int64_t r = 1; r < n; r++) {
      const vf value = row(r);
      const vi wins = better<LARGEST>(value, best);
      best = select(wins, value, best);
      place = wins ? broadcast_int(int32_t(r)) : place;
    }
    for (int i = 0; i < lanes; i++) out[c + i] = place[i];
  }
}

}  // namespace

extern const ReduceTable reduce_table;
const ReduceTable reduce_table = {
    {sum_rows, extreme_rows<Max>, extreme_rows<Min>},
    {sum_columns, extreme_columns<Max>, extreme_columns<Min>},
    arg_rows<true>,
    arg_rows<false>,
    arg_columns<true>,
    arg_columns<false>,
};

}  // namespace COOLNN_ISA
}  // namespace coolnn
