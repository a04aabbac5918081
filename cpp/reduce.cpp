// Sums, means and extremes over any set of axes. In storage order the axes are groups that are reduced and groups that
// are kept, by turns; each reduced group is one stage, the fastest first, that turns (outer, n, inner) numbers into
// (outer, inner).
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernel.h"
#include "parallel.h"
#include "reduce.h"
#include "rounding.h"
#include "strided.h"

namespace coolnn {
namespace {

constexpr int64_t GRAIN = 1 << 15;  // numbers a chunk
constexpr int64_t BAND = 1024;      // results a chunk, which wait in double on the stack
constexpr int64_t NARROW = 16;      // columns below this are handled as wider rows
constexpr int64_t WIDENED = 128;    // of about this length

double combine(Reduction reduction, double a, double b) {
  switch (reduction) {
    case Reduction::sum: return a + b;
    case Reduction::max: return b > a || b != b ? b : a;
    default: return b < a || b != b ? b : a;
  }
}

}  // namespace

ReductionStage::ReductionStage(Reduction reduction, int64_t outer, int64_t n, int64_t inner, double divisor)
    : reduction_(reduction), outer_(outer), n_(n), inner_(inner), divisor_(divisor),
      rows_(isa().reduce.rows[int(reduction)]), columns_(isa().reduce.columns[int(reduction)]) {
  band_ = std::min(inner, BAND);
  piece_ = std::max<int64_t>(64, GRAIN / std::max<int64_t>(band_, 1));
  pieces_ = std::max<int64_t>(1, ceil_div(n, piece_));
}

void ReductionStage::run(const float* x, float* y, double* workspace) const {
  make_rows(nullptr, nullptr, x, y, workspace);
}

void ReductionStage::make_rows(void* context, MakeRows before, const float* x, float* y, double* workspace) const {
  if (inner_ == 1 && pieces_ == 1) {
    if (before != nullptr) before(context, 0, n_);
    return run_rows(x, y);
  }
  const int64_t bands = ceil_div(inner_, band_);
  const int64_t group = items_within(GRAIN, std::min(piece_, n_) * band_ + 1);
  parallel_range(outer_ * pieces_ * bands, group, [&](int64_t begin, int64_t end) {
    double total[BAND];
    for (int64_t item = begin; item < end; item++) {
      const int64_t outer = item / bands / pieces_, piece = item / bands % pieces_, column = item % bands * band_;
      const int64_t width = std::min(band_, inner_ - column), first = piece * piece_, rows = std::min(piece_, n_ - first);
      if (before != nullptr) before(context, first, rows);
      reduce_columns(x + (outer * n_ + first) * inner_ + column, rows, width, total);
      if (pieces_ > 1) std::copy_n(total, width, workspace + (outer * pieces_ + piece) * inner_ + column);
      else finish(total, y + outer * inner_ + column, width);
    }
  });
  if (pieces_ > 1) join_pieces(workspace, y);
}

void ReductionStage::finish(const double* total, float* y, int64_t count) const {
  for (int64_t i = 0; i < count; i++) y[i] = float(total[i] / divisor_);
}

void ReductionStage::run_rows(const float* x, float* y) const {
  const int64_t group = std::min(BAND, items_within(GRAIN, n_ + 1));
  parallel_range(outer_, group, [&](int64_t begin, int64_t end) {
    double total[BAND];
    rows_(x + begin * n_, total, end - begin, n_);
    finish(total, y + begin, end - begin);
  });
}

// Few columns fill a vector badly: several rows are taken as one row, and its columns joined at the end.
void ReductionStage::reduce_columns(const float* x, int64_t n, int64_t width, double* total) const {
  if (width == 1 && inner_ == 1) return rows_(x, total, 1, n);
  const int64_t together = WIDENED / width;
  if (inner_ >= NARROW || n < 2 * together) return columns_(x, inner_, total, n, width);
  double wide[WIDENED];
  columns_(x, together * width, wide, n / together, together * width);
  const int64_t rest = n % together;
  columns_(x + (n - rest) * width, width, total, rest, width);
  for (int64_t i = 0; i < together * width; i++) total[i % width] = combine(reduction_, total[i % width], wide[i]);
}

void ReductionStage::join_pieces(const double* totals, float* y) const {
  parallel_range(results(), items_within(GRAIN, pieces_), [&](int64_t begin, int64_t end) {
    for (int64_t result = begin; result < end; result++) {
      const double* from = totals + result / inner_ * pieces_ * inner_ + result % inner_;
      double total = from[0];
      for (int64_t piece = 1; piece < pieces_; piece++) total = combine(reduction_, total, from[piece * inner_]);
      finish(&total, y + result, 1);
    }
  });
}

namespace {

// Results come out in the storage order of the input's kept axes. Where the output's is another (a rank-4 input that
// loses axes), this is the copy that brings them there; else it is empty.
StridedCopy to_output_order(const Spec& x, const std::vector<bool>& reduced, const Spec& y, bool keepdim) {
  std::vector<CopyAxis> axes;
  bool same = true;
  int64_t elements = 1;
  const std::vector<int> order = storage_order(x);
  for (auto i = order.rbegin(); i != order.rend(); ++i) {
    if (reduced[size_t(*i)]) continue;
    const int own = keepdim ? *i : int(std::count(reduced.begin(), reduced.begin() + *i, false));
    axes.push_back({x.shape[*i], elements, y.stride[own]});
    same = same && (x.shape[*i] == 1 || elements == y.stride[own]);
    elements *= x.shape[*i];
  }
  return same ? StridedCopy() : StridedCopy(axes, dtype_bytes(y.dtype));
}

std::vector<ReductionStage> plan_stages(const Spec& x, const std::vector<bool>& reduced, Reduction reduction, double divisor) {
  struct Group {
    int64_t size;
    bool reduced;
  };
  std::vector<Group> groups;
  for (const int i : storage_order(x)) {
    if (x.shape[i] == 1) continue;
    if (!groups.empty() && groups.back().reduced == reduced[size_t(i)]) groups.back().size *= x.shape[i];
    else groups.push_back({x.shape[i], reduced[size_t(i)]});
  }
  std::vector<ReductionStage> stages;
  int64_t left = std::count_if(groups.begin(), groups.end(), [](const Group& g) { return g.reduced; });
  int64_t inner = 1;
  while (!groups.empty()) {
    const Group group = groups.back();
    groups.pop_back();
    if (!group.reduced) {
      inner *= group.size;
      continue;
    }
    int64_t outer = 1;
    for (const Group& slower : groups) outer *= slower.size;
    stages.emplace_back(reduction, outer, group.size, inner, --left == 0 ? divisor : 1);
  }
  return stages;
}

size_t aligned(size_t bytes) { return size_t(round_up(int64_t(bytes), 64)); }

std::vector<bool> reduced_axes(const Spec& x, const std::vector<int64_t>& dims) {
  std::vector<bool> reduced(size_t(x.rank), false);
  for (const int64_t dim : dims)
    if (dim >= 0 && dim < x.rank) reduced[size_t(dim)] = true;
  return reduced;
}

KernelPtr make_reduction(const Problem& p, Reduction reduction, bool mean) {
  const Spec &x = p.inputs[0], &y = p.outputs[0];
  if (x.dtype != DType::f32 || y.dtype != DType::f32) return nullptr;
  const std::vector<bool> reduced = reduced_axes(x, p.integers("dims"));
  double count = 1;
  for (int i = 0; i < x.rank; i++)
    if (reduced[size_t(i)]) count *= double(x.shape[i]);
  const int64_t results = y.elements();
  if (x.elements() == 0) {
    if (results > 0 && reduction != Reduction::sum) return nullptr;  // there is no largest of no numbers
    const float value = mean ? std::numeric_limits<float>::quiet_NaN() : 0;
    return make_function_kernel("constant", [=](const Arguments& a) { std::fill_n(a.out(0), results, value); });
  }
  const std::vector<ReductionStage> stages = plan_stages(x, reduced, reduction, mean ? count : 1);
  const StridedCopy reorder = to_output_order(x, reduced, y, p.integer("keepdim") != 0);
  // Two buffers by turns for what goes from stage to stage, then the totals of pieces.
  size_t between = 0, totals = 0;
  for (const ReductionStage& stage : stages) {
    if (&stage != &stages.back() || !reorder.empty()) between = std::max(between, aligned(size_t(stage.results()) * 4));
    totals = std::max(totals, stage.workspace_bytes());
  }
  const auto run = [=](const Arguments& a) {
    char* workspace = static_cast<char*>(a.workspace);
    double* piece_totals = reinterpret_cast<double*>(workspace + 2 * between);
    const float* from = a.in(0);
    for (size_t k = 0; k < stages.size(); k++) {
      const bool last = k + 1 == stages.size() && reorder.empty();
      float* to = last ? a.out(0) : reinterpret_cast<float*>(workspace + k % 2 * between);
      stages[k].run(from, to, piece_totals);
      from = to;
    }
    if (!reorder.empty()) reorder.run(from, a.out(0));
    else if (stages.empty()) std::copy_n(from, results, a.out(0));
  };
  return make_function_kernel("stages", run, 2 * between + totals);
}

KernelPtr make_arg(const Problem& p, ReduceTable::ArgRowsFunction rows, ReduceTable::ArgColumnsFunction columns) {
  const Spec &x = p.inputs[0], &y = p.outputs[0];
  const int64_t dim = p.integer("dim");
  if (x.dtype != DType::f32 || y.dtype != DType::i64 || dim < 0 || dim >= x.rank) return nullptr;
  const int64_t n = x.shape[dim], inner = x.stride[dim], results = y.elements();
  if (results == 0) return make_function_kernel("empty", [](const Arguments&) {});
  if (n == 0 || n > std::numeric_limits<int32_t>::max()) return nullptr;
  const int64_t outer = results / inner, band = std::min<int64_t>(inner, 64), bands = ceil_div(inner, band);
  const StridedCopy reorder = to_output_order(x, reduced_axes(x, {dim}), y, p.integer("keepdim") != 0);
  const int64_t group = items_within(GRAIN, n * band);
  return make_function_kernel(
      inner == 1 ? "rows" : "columns",
      [=](const Arguments& a) {
        int64_t* out = reorder.empty() ? a.out<int64_t>(0) : static_cast<int64_t*>(a.workspace);
        parallel_range(outer * bands, group, [&](int64_t begin, int64_t end) {
          if (inner == 1) return rows(a.in(0) + begin * n, out + begin, end - begin, n);
          for (int64_t item = begin; item < end; item++) {
            const int64_t slice = item / bands, column = item % bands * band;
            columns(a.in(0) + slice * n * inner + column, inner, out + slice * inner + column, n,
                    std::min(band, inner - column));
          }
        });
        if (!reorder.empty()) reorder.run(out, a.outputs[0]);
      },
      reorder.empty() ? 0 : y.bytes());
}

}  // namespace

Family reduce_family() {
  return {
      {"sum", [](const Problem& p) { return make_reduction(p, Reduction::sum, false); }},
      {"mean", [](const Problem& p) { return make_reduction(p, Reduction::sum, true); }},
      {"amax", [](const Problem& p) { return make_reduction(p, Reduction::max, false); }},
      {"amin", [](const Problem& p) { return make_reduction(p, Reduction::min, false); }},
      {"argmax", [](const Problem& p) { return make_arg(p, isa().reduce.argmax_rows, isa().reduce.argmax_columns); }},
      {"argmin", [](const Problem& p) { return make_arg(p, isa().reduce.argmin_rows, isa().reduce.argmin_columns); }},
  };
}

}  // namespace coolnn
