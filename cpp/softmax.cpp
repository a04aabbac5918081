// Softmax along any axis, and cross entropy.
#include <algorithm>
#include <cmath>
#include <limits>

#include "isa.h"
#include "kernel.h"
#include "parallel.h"
#include "rounding.h"

namespace coolnn {
namespace {

constexpr int64_t GRAIN = 1 << 13;  // elements a chunk: exp makes them dearer than elementwise ones

// In storage every axis is [outer][n][inner], whatever the layout.
struct Along {
  int64_t outer, n, inner;
};

bool find_axis(const Problem& p, Along& along) {
  for (const Spec& spec : p.inputs)
    if (spec.dtype != DType::f32) return false;
  const Spec& x = p.inputs[0];
  const int64_t dim = p.integer("dim");
  if (dim < 0 || dim >= x.rank) return false;
  along.n = x.shape[dim];
  along.inner = x.stride[dim];
  const int64_t block = along.n * along.inner;
  along.outer = block > 0 ? x.elements() / block : 0;
  return true;
}

// Calls rows(first element, rows) for chunks of an axis that is the fastest, else strided(first element, lanes).
template <class Rows, class Strided> void for_axis(const Along& a, const Rows& rows, const Strided& strided) {
  if (a.inner == 1) {
    parallel_range(a.outer, items_within(GRAIN, a.n),
                   [&](int64_t begin, int64_t end) { rows(begin * a.n, end - begin); });
    return;
  }
  const int64_t lanes = std::max<int64_t>(64, GRAIN / std::max<int64_t>(1, a.n) / 64 * 64);
  const int64_t blocks = ceil_div(a.inner, lanes);
  // Small blocks share a chunk.
  const int64_t grain = items_within(GRAIN, a.n * std::min(lanes, a.inner));
  parallel_range(a.outer * blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t lane = i % blocks * lanes;
      strided(i / blocks * a.n * a.inner + lane, std::min(lanes, a.inner - lane));
    }
  });
}

KernelPtr forward_kernel(const Problem& p, decltype(SoftmaxTable::softmax_rows) rows,
                         decltype(SoftmaxTable::softmax_strided) strided) {
  Along along;
  if (!find_axis(p, along)) return nullptr;
  return make_function_kernel(along.inner == 1 ? "rows" : "strided", [=](const Arguments& a) {
    for_axis(
        along, [&](int64_t at, int64_t count) { rows(a.in(0) + at, a.out(0) + at, count, along.n); },
        [&](int64_t at, int64_t lanes) { strided(a.in(0) + at, a.out(0) + at, along.n, along.inner, lanes); });
  });
}

KernelPtr gradient_kernel(const Problem& p, decltype(SoftmaxTable::softmax_grad_rows) rows,
                          decltype(SoftmaxTable::softmax_grad_strided) strided) {
  Along along;
  if (!find_axis(p, along)) return nullptr;
  return make_function_kernel(along.inner == 1 ? "rows" : "strided", [=](const Arguments& a) {
    for_axis(
        along, [&](int64_t at, int64_t count) { rows(a.in(0) + at, a.in(1) + at, a.out(0) + at, count, along.n); },
        [&](int64_t at, int64_t lanes) {
          strided(a.in(0) + at, a.in(1) + at, a.out(0) + at, along.n, along.inner, lanes);
        });
  });
}

KernelPtr make_softmax(const Problem& p) {
  return forward_kernel(p, isa().softmax.softmax_rows, isa().softmax.softmax_strided);
}
KernelPtr make_log_softmax(const Problem& p) {
  return forward_kernel(p, isa().softmax.log_softmax_rows, isa().softmax.log_softmax_strided);
}
KernelPtr make_softmax_grad(const Problem& p) {
  return gradient_kernel(p, isa().softmax.softmax_grad_rows, isa().softmax.softmax_grad_strided);
}
KernelPtr make_log_softmax_grad(const Problem& p) {
  return gradient_kernel(p, isa().softmax.log_softmax_grad_rows, isa().softmax.log_softmax_grad_strided);
}

// Cross entropy of logits x with target class t, weights w of the classes and smoothing s over n classes:
//   (1 - s) * w_t * (l - x_t) + s / n * sum over c of w_c * (l - x_c),   l = log(sum over c of exp(x_c)).
// A row whose target is to be ignored counts nothing; "mean" divides by the sum of w_t over the rows that count.
enum class Reduction { none, sum, mean };

struct CrossEntropy {
  int64_t rows, classes, ignored;
  double smoothing;
  Reduction reduction;
  bool weighted;
  int64_t grain, chunks;

  bool prepare(const Problem& p, size_t logits) {
    if (p.inputs.size() != logits + 3) return false;
    const Spec &x = p.inputs[logits], &target = p.inputs[logits + 1], &weight = p.inputs[logits + 2];
    if (x.rank != 2 || x.dtype != DType::f32 || target.dtype != DType::i64 || x.shape[1] == 0) return false;
    if (weight.present() && weight.dtype != DType::f32) return false;
    rows = x.shape[0];
    classes = x.shape[1];
    ignored = p.integer("ignore_index", -100);
    smoothing = p.number("label_smoothing", 0.0);
    weighted = weight.present();
    const std::string name = p.text("reduction", "mean");
    if (name != "mean" && name != "sum" && name != "none") return false;
    reduction = name == "mean" ? Reduction::mean : name == "sum" ? Reduction::sum : Reduction::none;
    grain = items_within(GRAIN, std::max<int64_t>(8, classes));
    chunks = ceil_div(rows, grain);
    return true;
  }

  template <class F> void for_chunks(F&& f) const {
    parallel_for(chunks, [&](int64_t chunk, int) { f(chunk, chunk * grain, std::min(rows, (chunk + 1) * grain)); });
  }
  double weight_of(const float* weight, int64_t target) const {
    // Targets are checked before; an impossible one gives NaN rather than a crash.
    if (target < 0 || target >= classes) return std::numeric_limits<double>::quiet_NaN();
    return weighted ? double(weight[target]) : 1.0;
  }
  double weight_of_all(const float* weight) const {
    double sum = weighted ? 0.0 : double(classes);
    for (int64_t c = 0; weighted && c < classes; c++) sum += weight[c];
    return sum;
  }
  static double total(const double* parts, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += parts[i];
    return sum;
  }
};

constexpr int64_t BATCH = 64;  // rows at a time whose maxima and sums are kept

// The losses of rows [begin, end); adds what counts to loss and weight_sum, or writes each to y if that is given.
void cross_entropy_rows(const CrossEntropy& c, decltype(SoftmaxTable::exp_sum_rows) exp_sum_rows, const Arguments& a,
                        double all_weight, int64_t begin, int64_t end, float* y, double& loss, double& weight_sum) {
  const float *x = a.in(0), *weight = a.in(2);
  const int64_t* target = a.in<int64_t>(1);
  float maximum[BATCH], sum[BATCH], deficit[BATCH];
  for (int64_t first = begin; first < end; first += BATCH) {
    const int64_t count = std::min(BATCH, end - first);
    exp_sum_rows(x + first * c.classes, weight, maximum, sum, c.smoothing != 0 ? deficit : nullptr, count, c.classes);
    for (int64_t i = 0; i < count; i++) {
      const int64_t row = first + i, t = target[row];
      double value = 0;
      if (t != c.ignored) {
        const double w = c.weight_of(weight, t), log_sum = std::log(double(sum[i]));
        const double x_t = w == w ? double(x[row * c.classes + t]) : w;
        value = (1 - c.smoothing) * w * (double(maximum[i]) - x_t + log_sum);
        if (c.smoothing != 0) value += c.smoothing / double(c.classes) * (double(deficit[i]) + all_weight * log_sum);
        weight_sum += w;
      }
      if (y != nullptr) y[row] = float(value);
      loss += value;
    }
  }
}

KernelPtr make_cross_entropy(const Problem& p) {
  CrossEntropy c;
  if (!c.prepare(p, 0)) return nullptr;
  const auto exp_sum_rows = isa().softmax.exp_sum_rows;
  auto run = [=](const Arguments& a) {
    double *losses = static_cast<double*>(a.workspace), *weights = losses + c.chunks;
    const double all_weight = c.weight_of_all(a.in(2));
    float* y = c.reduction == Reduction::none ? a.out(0) : nullptr;
    c.for_chunks([&](int64_t chunk, int64_t begin, int64_t end) {
      double loss = 0, weight = 0;
      cross_entropy_rows(c, exp_sum_rows, a, all_weight, begin, end, y, loss, weight);
      losses[chunk] = loss, weights[chunk] = weight;
    });
    if (y != nullptr) return;
    const double loss = CrossEntropy::total(losses, c.chunks);
    *a.out(0) = float(c.reduction == Reduction::sum ? loss : loss / CrossEntropy::total(weights, c.chunks));
  };
  return make_function_kernel("rows", std::move(run), size_t(std::max<int64_t>(1, c.chunks)) * 2 * sizeof(double));
}

// With scale the gradient of the loss and p the softmax:
//   dx_c = scale * (((1 - s) * w_t + s / n * sum of w) * p_c - s / n * w_c), less scale * (1 - s) * w_t at the target.
void cross_entropy_grad_rows(const CrossEntropy& c, decltype(SoftmaxTable::cross_entropy_grad_row) grad_row,
                             const Arguments& a, double all_weight, double scale, int64_t begin, int64_t end) {
  const float* weight = a.in(3);
  const double share = c.smoothing / double(c.classes);
  for (int64_t row = begin; row < end; row++) {
    const int64_t t = a.in<int64_t>(2)[row];
    float* dx = a.out(0) + row * c.classes;
    if (t == c.ignored) {
      std::fill(dx, dx + c.classes, 0.0f);
      continue;
    }
    const double g = c.reduction == Reduction::none ? double(a.in(0)[row]) : scale;
    const double at_target = (1 - c.smoothing) * c.weight_of(weight, t);
    grad_row(a.in(1) + row * c.classes, weight, float(g * (at_target + share * all_weight)), float(g * share), dx,
             c.classes);
    if (at_target == at_target) dx[t] -= float(g * at_target);
  }
}

KernelPtr make_cross_entropy_grad(const Problem& p) {
  CrossEntropy c;
  if (!c.prepare(p, 1) || p.inputs[0].dtype != DType::f32) return nullptr;
  const auto grad_row = isa().softmax.cross_entropy_grad_row;
  auto run = [=](const Arguments& a) {
    const float* weight = a.in(3);
    const int64_t* target = a.in<int64_t>(2);
    double* weights = static_cast<double*>(a.workspace);
    double scale = c.reduction == Reduction::none ? 0.0 : double(*a.in(0));
    if (c.reduction == Reduction::mean) {
      c.for_chunks([&](int64_t chunk, int64_t begin, int64_t end) {
        weights[chunk] = 0;
        for (int64_t row = begin; row < end; row++)
          if (target[row] != c.ignored) weights[chunk] += c.weight_of(weight, target[row]);
      });
      scale /= CrossEntropy::total(weights, c.chunks);
    }
    const double all_weight = c.weight_of_all(weight);
    c.for_chunks([&](int64_t, int64_t begin, int64_t end) {
      cross_entropy_grad_rows(c, grad_row, a, all_weight, scale, begin, end);
    });
  };
  return make_function_kernel("rows", std::move(run), size_t(std::max<int64_t>(1, c.chunks)) * sizeof(double));
}

}  // namespace

Family softmax_family() {
  return {
      {"softmax", make_softmax},
      {"log_softmax", make_log_softmax},
      {"softmax_grad", make_softmax_grad},
      {"log_softmax_grad", make_log_softmax_grad},
      {"cross_entropy", make_cross_entropy},
      {"cross_entropy_grad", make_cross_entropy_grad},
  };
}

}  // namespace coolnn
