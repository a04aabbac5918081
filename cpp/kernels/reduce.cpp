#include "kernels/reduce.h"

#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {
namespace {

struct Sum {
  static constexpr float START = 0;
  static INLINE vf of(vf a, vf b) { return a + b; }
  static INLINE double of(double a, double b) { return a + b; }
};
struct Max {
  static constexpr float START = -__builtin_inff();
  static INLINE vf of(vf a, vf b) { return select((b > a) | (b != b), b, a); }  // a NaN in a stays, one in b enters
  static INLINE double of(double a, double b) { return b > a || b != b ? b : a; }
};
struct Min {
  static constexpr float START = __builtin_inff();
  static INLINE vf of(vf a, vf b) { return select((b < a) | (b != b), b, a); }
  static INLINE double of(double a, double b) { return b < a || b != b ? b : a; }
};

// Float32 runs end after this many steps and go on in double.
constexpr int64_t RUN = 32;

// The lanes of x, joined in pairs; lanes from n on do not count.
template <class F> INLINE double join_lanes(vf x, int n) {
  float lane[VL];
  store(lane, x);
  double total[VL];
  for (int i = 0; i < VL; i++) total[i] = i < n ? lane[i] : F::START;
  for (int half = VL / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) total[i] = F::of(total[i], total[i + half]);
  return total[0];
}

template <class F> void rows(const float* x, double* out, int64_t rows, int64_t n) {
  constexpr int64_t WIDE = 4 * VL;
  for (int64_t r = 0; r < rows; r++, x += n) {
    double total = F::START;
    int64_t i = 0;
    while (i + WIDE <= n) {
      vf a = load(x + i), b = load(x + i + VL), c = load(x + i + 2 * VL), d = load(x + i + 3 * VL);
      i += WIDE;
      for (int64_t step = 1; step < RUN && i + WIDE <= n; step++, i += WIDE) {
        a = F::of(a, load(x + i)), b = F::of(b, load(x + i + VL));
        c = F::of(c, load(x + i + 2 * VL)), d = F::of(d, load(x + i + 3 * VL));
      }
      total = F::of(total, join_lanes<F>(F::of(F::of(a, b), F::of(c, d)), VL));
    }
    if (i < n) {
      vf a = broadcast(F::START);
      for (; i + VL <= n; i += VL) a = F::of(a, load(x + i));
      total = F::of(total, join_lanes<F>(a, VL));
      if (i < n) total = F::of(total, join_lanes<F>(load_partial(x + i, int(n - i)), int(n - i)));
    }
    out[r] = total;
  }
}

// COUNT vectors of columns side by side.
template <class F, int COUNT>
INLINE void column_strip(const float* x, int64_t pitch, double* out, int64_t n, int last_lanes) {
  constexpr int WIDTH = COUNT * VL;
  double total[WIDTH];
  for (int i = 0; i < WIDTH; i++) total[i] = F::START;
  for (int64_t r = 0; r < n; r += RUN) {
    const int64_t end = n - r < RUN ? n : r + RUN;
    vf run[COUNT];
    for (int k = 0; k < COUNT; k++) run[k] = broadcast(F::START);
    for (int64_t i = r; i < end; i++) {
#pragma GCC unroll 8
      for (int k = 0; k < COUNT; k++) {
        const float* at = x + i * pitch + k * VL;
        run[k] = F::of(run[k], last_lanes == VL ? load(at) : load_partial(at, last_lanes));
      }
    }
    float lanes[WIDTH];
    for (int k = 0; k < COUNT; k++) store(lanes + k * VL, run[k]);
    for (int i = 0; i < WIDTH; i++) total[i] = F::of(total[i], double(lanes[i]));
  }
  const int width = (COUNT - 1) * VL + last_lanes;
  for (int i = 0; i < width; i++) out[i] = total[i];
}

template <class F> void columns(const float* x, int64_t pitch, double* out, int64_t n, int64_t columns) {
  int64_t c = 0;
  for (; c + 4 * VL <= columns; c += 4 * VL) column_strip<F, 4>(x + c, pitch, out + c, n, VL);
  for (; c + VL <= columns; c += VL) column_strip<F, 1>(x + c, pitch, out + c, n, VL);
  if (c < columns) column_strip<F, 1>(x + c, pitch, out + c, n, int(columns - c));
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
    const auto row = [&](int64_t r) { return lanes == VL ? load(x + r * pitch + c) : load_partial(x + r * pitch + c, lanes); };
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
    {rows<Sum>, rows<Max>, rows<Min>},
    {columns<Sum>, columns<Max>, columns<Min>},
    arg_rows<true>,
    arg_rows<false>,
    arg_columns<true>,
    arg_columns<false>,
};

}  // namespace COOLNN_ISA
}  // namespace coolnn
