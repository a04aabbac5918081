// One stage of a reduction: (outer, n, inner) numbers become (outer, inner).
#pragma once
#include <type_traits>

#include "isa.h"

namespace coolnn {

// Long sums are cut into pieces that do not depend on the number of threads; their totals are joined after.
class ReductionStage {
 public:
  ReductionStage(Reduction reduction, int64_t outer, int64_t n, int64_t inner, double divisor);

  int64_t results() const { return outer_ * inner_; }
  size_t workspace_bytes() const { return pieces_ == 1 ? 0 : size_t(results() * pieces_) * sizeof(double); }
  void run(const float* x, float* y, double* workspace) const;

  // The same, with `before(first, rows)` called for rows of x just before they are read, so that it can make them (by
  // several threads, each row once).
  bool may_make_rows() const { return outer_ == 1 && inner_ <= band_; }
  template <class F> void run_making_rows(F&& before, const float* x, float* y, double* workspace) const {
    make_rows(&before, [](void* context, int64_t first, int64_t rows) {
      (*static_cast<std::remove_reference_t<F>*>(context))(first, rows);
    }, x, y, workspace);
  }

 private:
  using MakeRows = void (*)(void* context, int64_t first, int64_t rows);
  void make_rows(void* context, MakeRows before, const float* x, float* y, double* workspace) const;
  void finish(const double* total, float* y, int64_t count) const;
  void run_rows(const float* x, float* y) const;
  void reduce_columns(const float* x, int64_t n, int64_t width, double* total) const;
  void join_pieces(const double* totals, float* y) const;

  Reduction reduction_;
  int64_t outer_, n_, inner_;
  double divisor_;
  int64_t band_, piece_, pieces_;
  ReduceTable::RowsFunction rows_;
  ReduceTable::ColumnsFunction columns_;
};

}  // namespace coolnn
