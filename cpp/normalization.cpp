// Batch, group and layer norm, and the affine map that batch norm is at inference.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "isa.h"
#include "kernel.h"
#include "parallel.h"
#include "rounding.h"

namespace coolnn {
namespace {

// A part of a tensor that one call of a kernel deals with: rows of columns each with its own statistics, or a run.
struct Piece {
  int64_t at;       // first element
  int64_t rows;     // or the length of the run
  int64_t columns;  // 1 for a run
  int64_t cell;     // first of its places in arrays of statistics
  int64_t column;   // first of its places in arrays of parameters
};

// How a tensor (batches, channels, ...) is cut into pieces, and which cells of statistics make up a group.
//
// Channels-last, the numbers of a batch are rows of channels. With few channels, several rows are taken as one wide row,
// so that vectors are full; what does not fill a wide row is a piece of its own. Row-major, each plane of a channel is
// cut into runs. A set is what has its own parameters: a batch, or all of them if statistics are across batches.
class Layout {
 public:
  Layout(const Spec& x, int64_t groups, bool across) : channels(x.shape[1]), groups_(groups) {
    batches = x.shape[0];
    pixels_ = x.elements() / (batches * channels);
    planes = x.rank != 4 && pixels_ > 1;
    if (across && !planes) pixels_ *= batches, batches = 1;
    sets = across ? 1 : batches;
    if (planes) {
      width = channels;
      step_ = RUN;
      chunks = ceil_div(pixels_, step_);
      grain_ = items_within(GRAIN, std::min(pixels_, step_));
      return;
    }
    const int64_t lanes = isa().vector_floats;
    int64_t replicas = channels < NARROW ? lanes / std::gcd(channels, lanes) : 1;
    if (pixels_ < 16 * replicas) replicas = 1;
    width = replicas * channels;
    rows_ = pixels_ / replicas;
    tail_ = pixels_ % replicas * channels;
    step_ = std::min<int64_t>(1024, items_within(CHUNK, width));
    chunks = ceil_div(rows_, step_) + (tail_ > 0);
    grain_ = items_within(GRAIN, width * std::min(rows_, step_));
  }

  int64_t batches, channels, sets;
  int64_t width;   // columns of a wide row
  int64_t chunks;  // of a batch (channels-last) or of a plane
  bool planes;

  int64_t cells() const { return batches * chunks * width; }
  int64_t parameters() const { return sets * width; }
  int64_t groups() const { return groups_; }
  int64_t group_of(int64_t channel) const { return channel / (channels / groups_); }
  // Numbers that share a mean.
  double group_size() const { return double(batches / sets) * double(pixels_) * double(channels / groups_); }

  template <class F> void for_pieces(F&& f) const {
    const int64_t pieces = batches * chunks * (planes ? channels : 1);
    parallel_range(pieces, grain_, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) f(planes ? run(i) : rows(i));
    });
  }

  // Calls f(cell, numbers in it) for all cells of one channel in one set, in a fixed order.
  template <class F> void for_cells(int64_t set, int64_t channel, F&& f) const {
    const int64_t first = sets == 1 ? 0 : set, last = sets == 1 ? batches : set + 1;
    for (int64_t chunk = first * chunks; chunk < last * chunks; chunk++)
      for (int64_t column = channel; column < width; column += channels) {
        const int64_t n = count(chunk % chunks, column);
        if (n > 0) f(chunk * width + column, double(n));
      }
  }

  // Runs f(set, group) for all groups, many at a time on one thread.
  template <class F> void for_groups(F&& f) const {
    const int64_t cost = cells() / (sets * groups_) + 16;
    parallel_range(sets * groups_, items_within(GRAIN / 2, cost), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) f(i / groups_, i % groups_);
    });
  }

  // Writes a channel's value to its places in an array of parameters.
  void spread(float* parameters, int64_t set, int64_t channel, double value) const {
    for (int64_t column = channel; column < width; column += channels) parameters[set * width + column] = float(value);
  }

 private:
  static constexpr int64_t CHUNK = 1 << 15;  // numbers: both passes over them are served by the cache
  static constexpr int64_t RUN = 1 << 14;
  static constexpr int64_t GRAIN = 1 << 13;
  static constexpr int64_t NARROW = 64;

  int64_t count(int64_t chunk, int64_t column) const {
    const int64_t begin = chunk * step_, length = planes ? pixels_ : rows_;
    if (begin < length) return std::min(step_, length - begin);
    return column < tail_ ? 1 : 0;
  }
  Piece rows(int64_t i) const {
    const int64_t batch = i / chunks, chunk = i % chunks, begin = chunk * step_;
    const int64_t start = batch * pixels_ * channels, set = sets == 1 ? 0 : batch;
    if (begin >= rows_) return {start + rows_ * width, 1, tail_, i * width, set * width};
    return {start + begin * width, std::min(step_, rows_ - begin), width, i * width, set * width};
  }
  Piece run(int64_t i) const {
    const int64_t plane = i / chunks, chunk = i % chunks, begin = chunk * step_;
    const int64_t batch = plane / channels, channel = plane % channels, set = sets == 1 ? 0 : batch;
    return {plane * pixels_ + begin, std::min(step_, pixels_ - begin), 1, (batch * chunks + chunk) * width + channel,
            set * width + channel};
  }

  int64_t groups_;
  int64_t pixels_;            // of a batch
  int64_t rows_ = 0, tail_ = 0;  // wide rows of a batch, and numbers that do not fill one
  int64_t step_;              // rows of a piece, or its length
  int64_t grain_;             // pieces for one thread
};

struct Moments {
  double mean, variance;
};

// Mean and variance of a group from the moments of its cells (see kernels/normalization.h).
Moments moments_of_group(const Layout& layout, const float* shift, const float* sum, const float* square, int64_t set,
                         int64_t group) {
  const int64_t size = layout.channels / layout.groups(), first = group * size;
  double total = 0, squares = 0;
  for (int64_t c = first; c < first + size; c++)
    layout.for_cells(set, c, [&](int64_t cell, double n) { total += n * double(shift[cell]) + double(sum[cell]); });
  const double mean = total / layout.group_size();
  for (int64_t c = first; c < first + size; c++)
    layout.for_cells(set, c, [&](int64_t cell, double n) {
      const double rest = double(sum[cell]) / n, distance = double(shift[cell]) + rest - mean;
      squares += double(square[cell]) + n * (distance * distance - rest * rest);
    });
  const double variance = squares / layout.group_size();
  return {mean, variance < 0 ? 0 : variance};
}

bool accepts(const Problem& p, size_t inputs, size_t outputs) {
  bool usable = p.inputs.size() == inputs && p.outputs.size() == outputs && p.inputs[0].rank >= 2;
  for (const Spec& spec : p.inputs) usable = usable && (!spec.present() || spec.dtype == DType::f32);
  return usable && p.inputs[0].elements() > 0;
}

double parameter(const float* values, int64_t i, double absent) {
  return values != nullptr ? double(values[i]) : absent;
}

// Batch and group norm: with `across` the second of the statistics written is the variance, else 1 / deviation.
KernelPtr make_norm(const Problem& p, int64_t groups, bool across) {
  const Layout layout(p.inputs[0], groups, across);
  const NormalizationTable table = isa().normalization;
  const double eps = p.number("eps");
  const int64_t cells = layout.cells(), parameters = layout.parameters(), group_channels = layout.channels / groups;
  auto run = [=](const Arguments& a) {
    const float *x = a.in(0), *weight = a.in(1), *bias = a.in(2);
    float *shift = static_cast<float*>(a.workspace), *sum = shift + cells, *square = sum + cells;
    float *minus = square + cells, *scale = minus + parameters, *plus = scale + parameters;
    layout.for_pieces([&](const Piece& q) {
      if (layout.planes) table.run_moments(x + q.at, q.rows, shift + q.cell, sum + q.cell, square + q.cell);
      else
        table.column_moments(x + q.at, q.rows, q.columns, layout.width, shift + q.cell, sum + q.cell, square + q.cell);
    });
    layout.for_groups([&](int64_t set, int64_t group) {
      const Moments m = moments_of_group(layout, shift, sum, square, set, group);
      const double rstd = 1 / std::sqrt(m.variance + eps);
      const float mean = float(m.mean);
      a.out(1)[set * groups + group] = mean;
      a.out(2)[set * groups + group] = float(across ? m.variance : rstd);
      for (int64_t c = group * group_channels; c < (group + 1) * group_channels; c++) {
        const double factor = rstd * parameter(weight, c, 1);
        layout.spread(minus, set, c, mean);
        layout.spread(scale, set, c, factor);
        // What float32 cuts off the mean is made good here: it matters where the mean is large against the deviation.
        layout.spread(plus, set, c, parameter(bias, c, 0) - (m.mean - double(mean)) * factor);
      }
    });
    layout.for_pieces([&](const Piece& q) {
      const int64_t c = q.column;
      if (layout.planes) table.run_affine(x + q.at, minus[c], scale[c], plus[c], a.out(0) + q.at, q.rows);
      else
        table.column_affine(x + q.at, minus + c, scale + c, plus + c, a.out(0) + q.at, q.rows, q.columns, layout.width);
    });
  };
  return make_function_kernel(layout.planes ? "planes" : "columns", std::move(run),
                              size_t(3 * (cells + parameters)) * sizeof(float));
}

// dx = rstd * (w * g - mean(w * g) - n * mean(w * g * n)) with n the normalised x; the means are over the group.
KernelPtr make_norm_grad(const Problem& p, int64_t groups, bool across) {
  const Layout layout(p.inputs[0], groups, across);
  const NormalizationTable table = isa().normalization;
  const double eps = across ? p.number("eps") : 0;
  const int64_t cells = layout.cells(), parameters = layout.parameters(), channels = layout.channels;
  const int64_t group_channels = channels / groups, sets = layout.sets;
  auto run = [=](const Arguments& a) {
    const float *g = a.in(0), *x = a.in(1), *weight = a.in(2), *means = a.in(3), *spreads = a.in(4);
    double *dweight = static_cast<double*>(a.workspace), *dbias = dweight + sets * channels;  // of each set
    float* sum = reinterpret_cast<float*>(dbias + sets * channels);
    float *product = sum + cells, *mean = product + cells;
    float *slope = mean + parameters, *along = slope + parameters, *constant = along + parameters;
    for (int64_t i = 0; i < sets * channels; i++)
      layout.spread(mean, i / channels, i % channels, means[i / channels * groups + layout.group_of(i % channels)]);
    layout.for_pieces([&](const Piece& q) {
      const int64_t c = q.column;
      if (layout.planes) table.run_products(g + q.at, x + q.at, mean[c], q.rows, sum + q.cell, product + q.cell);
      else
        table.column_products(g + q.at, x + q.at, mean + c, q.rows, q.columns, layout.width, sum + q.cell,
                              product + q.cell);
    });
    layout.for_groups([&](int64_t set, int64_t group) {
      const int64_t first = group * group_channels, last = first + group_channels;
      const double given = spreads[set * groups + group], rstd = across ? 1 / std::sqrt(given + eps) : given;
      double sums = 0, products = 0;
      for (int64_t c = first; c < last; c++) {
        double channel_sum = 0, channel_product = 0;
        layout.for_cells(set, c, [&](int64_t cell, double) {
          channel_sum += double(sum[cell]);
          channel_product += double(product[cell]);
        });
        dbias[set * channels + c] = channel_sum;
        dweight[set * channels + c] = channel_product * rstd;
        sums += parameter(weight, c, 1) * channel_sum;
        products += parameter(weight, c, 1) * channel_product;
      }
      for (int64_t c = first; c < last; c++) {
        layout.spread(slope, set, c, rstd * parameter(weight, c, 1));
        layout.spread(along, set, c, -rstd * rstd * rstd * products / layout.group_size());
        layout.spread(constant, set, c, -rstd * sums / layout.group_size());
      }
    });
    for (int64_t c = 0; c < channels; c++) {
      double w = 0, b = 0;
      for (int64_t set = 0; set < sets; set++) w += dweight[set * channels + c], b += dbias[set * channels + c];
      a.out(1)[c] = float(w), a.out(2)[c] = float(b);
    }
    layout.for_pieces([&](const Piece& q) {
      const int64_t c = q.column;
      float* dx = a.out(0) + q.at;
      if (layout.planes) table.run_combine(g + q.at, x + q.at, mean[c], slope[c], along[c], constant[c], dx, q.rows);
      else
        table.column_combine(g + q.at, x + q.at, mean + c, slope + c, along + c, constant + c, dx, q.rows, q.columns,
                             layout.width);
    });
  };
  return make_function_kernel(layout.planes ? "planes" : "columns", std::move(run),
                              size_t(2 * sets * channels) * sizeof(double) +
                                  size_t(2 * cells + 4 * parameters) * sizeof(float));
}

KernelPtr make_batch_norm(const Problem& p) {
  return accepts(p, 3, 3) ? make_norm(p, p.inputs[0].shape[1], true) : nullptr;
}
KernelPtr make_batch_norm_grad(const Problem& p) {
  return accepts(p, 5, 3) ? make_norm_grad(p, p.inputs[0].shape[1], true) : nullptr;
}
KernelPtr make_group_norm(const Problem& p) {
  return accepts(p, 3, 3) ? make_norm(p, p.integer("num_groups"), false) : nullptr;
}
KernelPtr make_group_norm_grad(const Problem& p) {
  return accepts(p, 5, 3) ? make_norm_grad(p, p.integer("num_groups"), false) : nullptr;
}

KernelPtr make_channel_affine(const Problem& p) {
  if (!accepts(p, 3, 1)) return nullptr;
  const Layout layout(p.inputs[0], p.inputs[0].shape[1], true);
  const NormalizationTable table = isa().normalization;
  auto run = [=](const Arguments& a) {
    float *scale = static_cast<float*>(a.workspace), *shift = scale + layout.width;
    for (int64_t c = 0; c < layout.width; c += layout.channels) {
      std::memcpy(scale + c, a.in(1), size_t(layout.channels) * sizeof(float));
      std::memcpy(shift + c, a.in(2), size_t(layout.channels) * sizeof(float));
    }
    layout.for_pieces([&](const Piece& q) {
      const float* x = a.in(0) + q.at;
      float* y = a.out(0) + q.at;
      const int64_t c = q.column;
      if (layout.planes) table.run_scale_shift(x, scale[c], shift[c], y, q.rows);
      else table.column_scale_shift(x, scale + c, shift + c, y, q.rows, q.columns, layout.width);
    });
  };
  return make_function_kernel(layout.planes ? "planes" : "columns", std::move(run),
                              size_t(2 * layout.width) * sizeof(float));
}

constexpr int64_t ROWS_GRAIN = 1 << 13;  // elements a chunk of layer norm

KernelPtr make_layer_norm(const Problem& p) {
  if (!accepts(p, 3, 3) || p.inputs[0].rank != 2) return nullptr;
  const auto norm_row = isa().normalization.layer_norm_row;
  const int64_t rows = p.inputs[0].shape[0], n = p.inputs[0].shape[1];
  const double eps = p.number("eps");
  return make_function_kernel("rows", [=](const Arguments& a) {
    parallel_range(rows, items_within(ROWS_GRAIN, n), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++)
        norm_row(a.in(0) + r * n, a.in(1), a.in(2), eps, a.out(0) + r * n, a.out(1) + r, a.out(2) + r, n);
    });
  });
}

KernelPtr make_layer_norm_grad(const Problem& p) {
  constexpr int64_t PART = 64;  // rows summed in float32 before their sum is added up in double
  if (!accepts(p, 5, 3) || p.inputs[0].rank != 2) return nullptr;
  const auto grad_row = isa().normalization.layer_norm_grad_row;
  const int64_t rows = p.inputs[0].shape[0], n = p.inputs[0].shape[1];
  const int64_t parts = ceil_div(rows, PART);
  auto run = [=](const Arguments& a) {
    float* sums = static_cast<float*>(a.workspace);  // of dweight and dbias, for each part
    parallel_range(parts, items_within(ROWS_GRAIN, PART * n), [&](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; part++) {
        float *dweight = sums + 2 * part * n, *dbias = dweight + n;
        std::fill(dweight, dweight + 2 * n, 0.0f);
        for (int64_t r = part * PART; r < std::min(rows, (part + 1) * PART); r++)
          grad_row(a.in(0) + r * n, a.in(1) + r * n, a.in(2), a.in(3)[r], a.in(4)[r], a.out(0) + r * n, dweight, dbias,
                   n);
      }
    });
    parallel_range(n, std::max<int64_t>(16, ROWS_GRAIN / parts), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        double dweight = 0, dbias = 0;
        for (int64_t part = 0; part < parts; part++)
          dweight += double(sums[2 * part * n + i]), dbias += double(sums[(2 * part + 1) * n + i]);
        a.out(1)[i] = float(dweight), a.out(2)[i] = float(dbias);
      }
    });
  };
  return make_function_kernel("rows", std::move(run), size_t(2 * parts * n) * sizeof(float));
}

}  // namespace

Family normalization_family() {
  return {
      {"batch_norm", make_batch_norm},
      {"batch_norm_grad", make_batch_norm_grad},
      {"channel_affine", make_channel_affine},
      {"group_norm", make_group_norm},
      {"group_norm_grad", make_group_norm_grad},
      {"layer_norm", make_layer_norm},
      {"layer_norm_grad", make_layer_norm_grad},
  };
}

}  // namespace coolnn
