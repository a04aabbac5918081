// Picking elements by an index tensor, and its gradient: adding up at the places that were picked. Operations check
// their indices before; a place that is not there reads as zero here and is skipped in the gradient.
#include <algorithm>
#include <cstring>

#include "isa.h"
#include "kernel.h"
#include "parallel.h"
#include "rounding.h"
#include "strided.h"

namespace coolnn {
namespace {

constexpr int64_t GRAIN = 1 << 15;

// Memory around one axis of a tensor: outer x size x inner elements.
struct Around {
  int64_t outer, size, inner;

  Around(const Spec& spec, int64_t dim) : outer(0), size(spec.shape[dim]), inner(spec.stride[dim]) {
    if (size * inner > 0) outer = spec.elements() / (size * inner);
  }
};

bool valid_dim(const Spec& spec, int64_t dim) { return dim >= 0 && dim < spec.rank; }

// --- whole places of an axis ----------------------------------------------------------------------------------------

template <class T>
void take_places(const T* x, const int64_t* index, T* y, const Around& from, int64_t count, int64_t begin, int64_t end,
                 bool all_there) {
  for (int64_t item = begin; item < end;) {
    const T* in = x + item / count * from.size * from.inner;
    T* out = y + item * from.inner;
    const int64_t first = item % count, last = std::min(count, first + end - item);
    item += last - first;
    if (from.inner == 1 && all_there) {  // single numbers, as when channels are shuffled
      for (int64_t j = first; j < last; j++) *out++ = in[index[j]];
      continue;
    }
    for (int64_t j = first; j < last; j++, out += from.inner) {
      const int64_t place = index[j];
      if (place < 0 || place >= from.size) std::fill(out, out + from.inner, T(0));
      else std::memcpy(out, in + place * from.inner, size_t(from.inner) * sizeof(T));
    }
  }
}

bool all_inside(const int64_t* index, int64_t count, int64_t size) {
  return std::all_of(index, index + count, [=](int64_t place) { return place >= 0 && place < size; });
}

template <class T> KernelPtr make_take_of(const Spec& x, const Spec& y, int64_t dim) {
  const Around from(x, dim);
  const int64_t count = y.shape[dim], items = y.elements() == 0 ? 0 : y.elements() / y.stride[dim];
  const int64_t group = items_within(GRAIN, y.stride[dim]);
  if (items > 0 && from.outer == 0) return nullptr;  // nothing to take from
  return make_function_kernel("rows", [=](const Arguments& a) {
    const bool all_there = all_inside(a.in<int64_t>(1), count, from.size);
    parallel_range(items, group, [&](int64_t begin, int64_t end) {
      take_places(a.in<T>(0), a.in<int64_t>(1), a.out<T>(0), from, count, begin, end, all_there);
    });
  });
}

KernelPtr make_take(const Problem& p) {
  const Spec &x = p.inputs[0], &index = p.inputs[1], &y = p.outputs[0];
  const int64_t dim = p.integer("dim");
  if (index.dtype != DType::i64 || index.rank != 1 || !valid_dim(x, dim) || y.rank != x.rank) return nullptr;
  switch (dtype_bytes(x.dtype)) {
    case 1: return make_take_of<uint8_t>(x, y, dim);
    case 4: return make_take_of<uint32_t>(x, y, dim);
    default: return make_take_of<uint64_t>(x, y, dim);
  }
}

KernelPtr make_take_grad(const Problem& p) {
  const Spec &grad = p.inputs[0], &index = p.inputs[1], &dx = p.outputs[0];
  const int64_t dim = p.integer("dim");
  if (grad.dtype != DType::f32 || index.dtype != DType::i64 || index.rank != 1 || !valid_dim(dx, dim)) return nullptr;
  if (grad.rank != dx.rank) return nullptr;
  const Around to(dx, dim);
  const int64_t count = grad.shape[dim];
  // A chunk is a band of columns, alone in writing to it: the sums run in the order of the index.
  const int64_t band = std::min<int64_t>(std::max<int64_t>(to.inner, 1), 1024);
  const int64_t bands = ceil_div(to.inner, band);
  if (to.inner == 1) {  // single numbers: the function that adds rows would be called for each
    const int64_t rows = items_within(GRAIN, std::max(to.size, count));
    return make_function_kernel("numbers", [=](const Arguments& a) {
      const int64_t* index = a.in<int64_t>(1);
      parallel_range(to.outer, rows, [&](int64_t begin, int64_t end) {
        std::fill_n(a.out(0) + begin * to.size, (end - begin) * to.size, 0.0f);
        for (int64_t row = begin; row < end; row++) {
          float* out = a.out(0) + row * to.size;
          const float* in = a.in(0) + row * count;
          for (int64_t j = 0; j < count; j++)
            if (index[j] >= 0 && index[j] < to.size) out[index[j]] += in[j];
        }
      });
    });
  }
  const auto accumulate = isa().movement.accumulate;
  return make_function_kernel("bands", [=](const Arguments& a) {
    parallel_for(to.outer * bands, [&](int64_t chunk, int) {
      const int64_t outer = chunk / bands, column = chunk % bands * band;
      const int64_t width = std::min(band, to.inner - column);
      float* out = a.out(0) + outer * to.size * to.inner + column;
      const float* in = a.in(0) + outer * count * to.inner + column;
      for (int64_t place = 0; place < to.size; place++) std::fill_n(out + place * to.inner, width, 0.0f);
      for (int64_t j = 0; j < count; j++) {
        const int64_t place = a.in<int64_t>(1)[j];
        if (place >= 0 && place < to.size) accumulate(in + j * to.inner, out + place * to.inner, width);
      }
    });
  });
}

// --- one place for each element -------------------------------------------------------------------------------------

// Walks an index tensor in storage order beside the tensor that it points into.
class GatherWalk {
 public:
  GatherWalk(const Spec& x, const Spec& index, int64_t dim) : size_(x.shape[dim]), dim_stride_(x.stride[dim]) {
    for (const int i : storage_order(index))
      axes_.push_back({index.shape[i], i == dim ? 0 : x.stride[i], index.stride[i]});
    elements_ = index.elements();
    slowest_ = axes_[0].size;
    slowest_is_dim_ = storage_order(index)[0] == dim;
  }

  // Calls f(place in x, place in the index tensor) for each element in slices [begin, end) of the slowest axis; the
  // place in x is -1 where the index is outside.
  template <class F> void run(const int64_t* index, int64_t begin, int64_t end, F f) const {
    const int64_t slice = elements_ / slowest_;
    int64_t position[MAX_RANK] = {begin}, base = begin * axes_[0].src;
    for (int64_t at = begin * slice; at < end * slice; at++) {
      const int64_t place = index[at];
      f(place >= 0 && place < size_ ? base + place * dim_stride_ : -1, at);
      for (size_t k = axes_.size(); k-- > 0;) {  // on to the next element, as an odometer counts
        base += axes_[k].src;
        if (++position[k] < axes_[k].size || k == 0) break;
        base -= axes_[k].src * axes_[k].size;
        position[k] = 0;
      }
    }
  }

  int64_t slices() const { return elements_ == 0 ? 0 : slowest_; }
  int64_t group() const { return items_within(GRAIN / 4, elements_ / std::max<int64_t>(1, slowest_) + 1); }
  bool slices_apart() const { return !slowest_is_dim_; }  // whether no two slices point to the same element

 private:
  int64_t size_, dim_stride_, elements_ = 0, slowest_ = 0;
  bool slowest_is_dim_ = false;
  std::vector<CopyAxis> axes_;
};

bool gather_fits(const Spec& x, const Spec& index, int64_t dim) {
  if (index.dtype != DType::i64 || index.rank != x.rank || !valid_dim(x, dim)) return false;
  for (int i = 0; i < x.rank; i++)
    if (i != dim && index.shape[i] > x.shape[i]) return false;
  return true;
}

template <class T> KernelPtr make_gather_of(const Spec& x, const Spec& index, int64_t dim) {
  const GatherWalk walk(x, index, dim);
  return make_function_kernel("elements", [=](const Arguments& a) {
    const T* in = a.in<T>(0);
    T* out = a.out<T>(0);
    parallel_range(walk.slices(), walk.group(), [&](int64_t begin, int64_t end) {
      walk.run(a.in<int64_t>(1), begin, end, [&](int64_t from, int64_t to) { out[to] = from < 0 ? T(0) : in[from]; });
    });
  });
}

KernelPtr make_gather(const Problem& p) {
  const Spec &x = p.inputs[0], &index = p.inputs[1];
  const int64_t dim = p.integer("dim");
  if (!gather_fits(x, index, dim)) return nullptr;
  switch (dtype_bytes(x.dtype)) {
    case 1: return make_gather_of<uint8_t>(x, index, dim);
    case 4: return make_gather_of<uint32_t>(x, index, dim);
    default: return make_gather_of<uint64_t>(x, index, dim);
  }
}

KernelPtr make_gather_grad(const Problem& p) {
  const Spec &grad = p.inputs[0], &index = p.inputs[1], &dx = p.outputs[0];
  const int64_t dim = p.integer("dim");
  if (grad.dtype != DType::f32 || !gather_fits(dx, index, dim)) return nullptr;
  const GatherWalk walk(dx, index, dim);
  const int64_t group = walk.slices_apart() ? walk.group() : std::max<int64_t>(1, walk.slices());
  const int64_t elements = dx.elements();
  return make_function_kernel("elements", [=](const Arguments& a) {
    const float* in = a.in(0);
    float* out = a.out(0);
    parallel_range(elements, GRAIN, [&](int64_t begin, int64_t end) { std::fill(out + begin, out + end, 0.0f); });
    parallel_range(walk.slices(), group, [&](int64_t begin, int64_t end) {
      walk.run(a.in<int64_t>(1), begin, end, [&](int64_t to, int64_t from) {
        if (to >= 0) out[to] += in[from];
      });
    });
  });
}

}  // namespace

Family index_family() {
  return {
      {"take", make_take},
      {"take_grad", make_take_grad},
      {"gather", make_gather},
      {"gather_grad", make_gather_grad},
  };
}

}  // namespace coolnn
