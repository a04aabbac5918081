// Winograd's one-dimensional transforms, straight-line code made from the matrices. The points come as 0, +p, -p, ...,
// infinity, so two neighbouring rows differ only in the sign of their odd columns (or two columns in that of their odd
// rows): the even and the odd part are computed once and added and subtracted.
#pragma once
#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

// The matrices as types: at(row, column).
template <class F> struct InputMatrix {
  static constexpr int ROWS = F::POINTS, COLUMNS = F::POINTS;
  static constexpr float at(int r, int c) { return F::BT[r][c]; }
};
template <class F> struct WeightMatrix {
  static constexpr int ROWS = F::POINTS, COLUMNS = 3;
  static constexpr float at(int r, int c) { return F::G[r][c]; }
};
template <class F> struct OutputMatrix {
  static constexpr int ROWS = F::OUTPUTS, COLUMNS = F::POINTS;
  static constexpr float at(int r, int c) { return F::AT[r][c]; }
};
template <class M> struct Transposed {
  static constexpr int ROWS = M::COLUMNS, COLUMNS = M::ROWS;
  static constexpr float at(int r, int c) { return M::at(c, r); }
};

// The first column >= c of this row that is not zero, in steps.
template <class M> constexpr int first_term(int r, int c, int step) {
  while (c < M::COLUMNS && M::at(r, c) == 0) c += step;
  return c;
}

// sum + the terms of row R from column C on, divided by the coefficient of column LEAD.
template <class M, int R, int C, int STEP, int LEAD> static INLINE vf add_terms(vf sum, const vf* x) {
  if constexpr (C < M::COLUMNS) {
    constexpr float k = M::at(R, C) / M::at(R, LEAD);
    constexpr int next = first_term<M>(R, C + STEP, STEP);
    if constexpr (k == 1) return add_terms<M, R, next, STEP, LEAD>(sum + x[C], x);
    else if constexpr (k == -1) return add_terms<M, R, next, STEP, LEAD>(sum - x[C], x);
    else return add_terms<M, R, next, STEP, LEAD>(fma(broadcast(k), x[C], sum), x);
  } else {
    return sum;
  }
}

// Row R times x over the columns C, C + STEP, ..., divided by the first coefficient among them.
template <class M, int R, int C, int STEP> static INLINE vf scaled_dot(const vf* x) {
  constexpr int lead = first_term<M>(R, C, STEP);
  return add_terms<M, R, first_term<M>(R, lead + STEP, STEP), STEP, lead>(x[lead], x);
}
template <class M, int R, int C, int STEP> constexpr float lead() { return M::at(R, first_term<M>(R, C, STEP)); }

template <class M, int R> static INLINE vf dot(const vf* x) {
  constexpr float k = lead<M, R, 0, 1>();
  const vf sum = scaled_dot<M, R, 0, 1>(x);
  return k == 1 ? sum : broadcast(k) * sum;
}

// y = M x where the rows come in pairs (BT, G, A).
template <class M, int R = 0> static INLINE void paired_rows(const vf* x, vf* y) {
  if constexpr (R == 0 || R == M::ROWS - 1) {
    y[R] = dot<M, R>(x);
    if constexpr (R == 0) paired_rows<M, 1>(x, y);
  } else {
    constexpr float even_lead = lead<M, R, 0, 2>(), odd_lead = lead<M, R, 1, 2>();
    vf even = scaled_dot<M, R, 0, 2>(x);
    const vf odd = scaled_dot<M, R, 1, 2>(x);
    if constexpr (even_lead != 1) even = broadcast(even_lead) * even;
    y[R] = odd_lead == 1 ? even + odd : fma(broadcast(odd_lead), odd, even);
    y[R + 1] = odd_lead == 1 ? even - odd : fma(broadcast(-odd_lead), odd, even);
    paired_rows<M, R + 2>(x, y);
  }
}

// Terms of row R from the folded columns: x[0], the sums or differences of pairs, x[last].
template <class M> struct Folded {
  static constexpr int ROWS = M::ROWS, COLUMNS = (M::COLUMNS - 2) / 2 + 2;
  static constexpr float at(int r, int c) { return M::at(r, c == 0 ? 0 : 2 * c - 1); }
};
template <class M, int R> static INLINE void folded_rows(const vf* even, const vf* odd, vf* y) {
  if constexpr (R < M::ROWS) {
    y[R] = dot<Folded<M>, R>(R % 2 == 0 ? even : odd);
    folded_rows<M, R + 1>(even, odd, y);
  }
}

// y = M x where the columns come in pairs (AT, GT).
template <class M> static INLINE void paired_columns(const vf* x, vf* y) {
  constexpr int PAIRS = (M::COLUMNS - 2) / 2;
  vf even[PAIRS + 2], odd[PAIRS + 2];
  even[0] = odd[0] = x[0];
  even[PAIRS + 1] = odd[PAIRS + 1] = x[M::COLUMNS - 1];
#pragma GCC unroll 4
  for (int i = 1; i <= PAIRS; i++) {
    even[i] = x[2 * i - 1] + x[2 * i];
    odd[i] = x[2 * i - 1] - x[2 * i];
  }
  folded_rows<M, 0>(even, odd, y);
}

}  // namespace COOLNN_ISA
}  // namespace coolnn
