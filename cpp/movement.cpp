// Operations that move numbers without computing: each is one or more strided copies, sized by the bytes of an element.
#include <algorithm>
#include <cstring>

#include "kernel.h"
#include "parallel.h"
#include "rounding.h"
#include "strided.h"

namespace coolnn {
namespace {

// Copies that together write an output: from an input, or (input -1) from one number that fills a part.
struct Step {
  StridedCopy copy;
  int input;
};

// The bytes of a number in the type of an element.
struct FillValue {
  alignas(8) unsigned char bytes[8] = {};

  FillValue(double value, DType dtype) {
    switch (dtype) {
      case DType::f32: put(float(value)); break;
      case DType::f64: put(value); break;
      case DType::i64: put(int64_t(value)); break;
      case DType::i32: put(int32_t(value)); break;
      case DType::u8: put(uint8_t(value)); break;
      case DType::boolean: put(uint8_t(value != 0)); break;
    }
  }
  template <class T> void put(T value) { __builtin_memcpy(bytes, &value, sizeof value); }
};

KernelPtr make_steps(const char* algorithm, std::vector<Step> steps, FillValue fill = FillValue(0, DType::f64)) {
  return make_function_kernel(algorithm, [steps = std::move(steps), fill](const Arguments& a) {
    for (const Step& step : steps) step.copy.run(step.input < 0 ? fill.bytes : a.inputs[step.input], a.outputs[0]);
  });
}

size_t element_bytes(const Problem& p) { return dtype_bytes(p.outputs[0].dtype); }

// --- the same elements in another order -----------------------------------------------------------------------------

// Splits two shapes of the same number of elements into common axes, where each divides the other; false if they have
// none.
bool common_axes(const Spec& src, const Spec& dst, std::vector<CopyAxis>& axes) {
  int i = src.rank - 1, j = dst.rank - 1;
  int64_t src_left = 1, dst_left = 1, src_stride = 0, dst_stride = 0;
  for (;;) {
    while (src_left == 1 && i >= 0) src_left = src.shape[i], src_stride = src.stride[i], i--;
    while (dst_left == 1 && j >= 0) dst_left = dst.shape[j], dst_stride = dst.stride[j], j--;
    if (src_left == 1 && dst_left == 1) return true;
    const int64_t size = std::min(src_left, dst_left);
    if (src_left % size != 0 || dst_left % size != 0) return false;
    axes.push_back({size, src_stride, dst_stride});
    src_left /= size, src_stride *= size;
    dst_left /= size, dst_stride *= size;
  }
}

Spec flat(const Spec& spec) { return Spec(spec.dtype, {spec.elements()}); }

KernelPtr make_reshape(const Problem& p) {
  const Spec &x = p.inputs[0], &y = p.outputs[0];
  if (x.elements() != y.elements()) return nullptr;
  if (x.elements() == 0) return make_steps("empty", {});
  std::vector<CopyAxis> axes;
  if (common_axes(x, y, axes)) return make_steps("copy", {{StridedCopy(axes, element_bytes(p)), 0}});
  // By way of row-major order, which has common axes with every shape.
  std::vector<CopyAxis> there, back;
  common_axes(x, flat(x), there);
  common_axes(flat(x), y, back);
  const StridedCopy first(there, element_bytes(p)), second(back, element_bytes(p));
  return make_function_kernel(
      "copy_twice",
      [=](const Arguments& a) {
        first.run(a.inputs[0], a.workspace);
        second.run(a.workspace, a.outputs[0]);
      },
      x.bytes());
}

KernelPtr make_permute(const Problem& p) {
  const Spec &x = p.inputs[0], &y = p.outputs[0];
  const std::vector<int64_t> dims = p.integers("dims");
  if (int(dims.size()) != x.rank || y.rank != x.rank) return nullptr;
  std::vector<CopyAxis> axes;
  for (int i = 0; i < y.rank; i++) axes.push_back({y.shape[i], x.stride[dims[size_t(i)]], y.stride[i]});
  return make_steps("copy", {{StridedCopy(axes, element_bytes(p)), 0}});
}

KernelPtr make_broadcast_to(const Problem& p) {
  const Spec &x = p.inputs[0], &y = p.outputs[0];
  std::vector<CopyAxis> axes;
  for (int i = 0; i < y.rank; i++) {
    const int own = i - (y.rank - x.rank);
    axes.push_back({y.shape[i], own >= 0 && x.shape[own] != 1 ? x.stride[own] : 0, y.stride[i]});
  }
  return make_steps("copy", {{StridedCopy(axes, element_bytes(p)), 0}});
}

KernelPtr make_flip(const Problem& p) {
  const Spec& x = p.inputs[0];
  std::vector<CopyAxis> axes;
  for (int i = 0; i < x.rank; i++) axes.push_back({x.shape[i], x.stride[i], x.stride[i]});
  int64_t offset = 0;
  for (const int64_t dim : p.integers("dims")) {
    offset += (x.shape[dim] - 1) * x.stride[dim];
    axes[size_t(dim)].src = -x.stride[dim];
  }
  return make_steps("copy", {{StridedCopy(axes, element_bytes(p), offset), 0}});
}

// --- parts of tensors -----------------------------------------------------------------------------------------------

// A regular part of a tensor: where it begins, how long it is and its step along each axis.
struct Part {
  int64_t start[MAX_RANK], count[MAX_RANK], step[MAX_RANK];

  bool empty(int rank) const { return std::any_of(count, count + rank, [](int64_t n) { return n == 0; }); }
  int64_t offset(const Spec& whole) const {
    int64_t at = 0;
    for (int i = 0; i < whole.rank; i++) at += start[i] * whole.stride[i];
    return at;
  }
};

// The copy of a part out of `whole`, or (inward) of a tensor into that part of `whole`.
StridedCopy copy_part(const Spec& whole, const Part& part, const Spec& dense, bool inward) {
  std::vector<CopyAxis> axes;
  for (int i = 0; i < whole.rank; i++) {
    const int64_t along = whole.stride[i] * part.step[i];
    if (inward) axes.push_back({part.count[i], dense.stride[i], along});
    else axes.push_back({part.count[i], along, dense.stride[i]});
  }
  const int64_t offset = part.offset(whole);
  return StridedCopy(axes, dtype_bytes(whole.dtype), inward ? 0 : offset, inward ? offset : 0);
}

// Fills what a part leaves of `whole`: slabs on either side, axis by axis in storage order, so that nothing is written
// twice; all of it if the part has gaps.
void fill_around(const Spec& whole, const Part& part, std::vector<Step>& steps) {
  Part slab;
  bool gaps = part.empty(whole.rank);
  for (int i = 0; i < whole.rank; i++) {
    slab.start[i] = 0, slab.count[i] = whole.shape[i], slab.step[i] = 1;
    gaps = gaps || (part.step[i] > 1 && part.count[i] > 1);
  }
  const auto fill = [&] {
    std::vector<CopyAxis> axes;
    for (int i = 0; i < whole.rank; i++) axes.push_back({slab.count[i], 0, whole.stride[i]});
    StridedCopy copy(axes, dtype_bytes(whole.dtype), 0, slab.offset(whole));
    if (!copy.empty()) steps.push_back({copy, -1});
  };
  if (gaps) return fill();
  for (const int i : storage_order(whole)) {
    slab.start[i] = 0, slab.count[i] = part.start[i];
    fill();
    slab.start[i] = part.start[i] + part.count[i], slab.count[i] = whole.shape[i] - slab.start[i];
    fill();
    slab.start[i] = part.start[i], slab.count[i] = part.count[i];
  }
}

// The part that `starts` and `steps` name, as long as `dense`; false unless it lies inside `whole`.
bool read_part(const Problem& p, const Spec& whole, const Spec& dense, Part& part) {
  const std::vector<int64_t> starts = p.integers("starts"), steps = p.integers("steps");
  const int rank = whole.rank;
  if (int(starts.size()) != rank || int(steps.size()) != rank || dense.rank != rank) return false;
  for (int i = 0; i < rank; i++) {
    part.start[i] = starts[size_t(i)], part.count[i] = dense.shape[i], part.step[i] = steps[size_t(i)];
    if (part.start[i] < 0 || part.step[i] < 1) return false;
    if (part.count[i] > 0 && part.start[i] + (part.count[i] - 1) * part.step[i] >= whole.shape[i]) return false;
  }
  return true;
}

KernelPtr make_slice(const Problem& p) {
  Part part;
  if (!read_part(p, p.inputs[0], p.outputs[0], part)) return nullptr;
  return make_steps("copy", {{copy_part(p.inputs[0], part, p.outputs[0], false), 0}});
}

KernelPtr make_slice_grad(const Problem& p) {
  Part part;
  if (!read_part(p, p.outputs[0], p.inputs[0], part)) return nullptr;
  std::vector<Step> steps;
  fill_around(p.outputs[0], part, steps);
  steps.push_back({copy_part(p.outputs[0], part, p.inputs[0], true), 0});
  return make_steps("copy", std::move(steps));
}

KernelPtr make_pad(const Problem& p) {
  const Spec &x = p.inputs[0], &y = p.outputs[0];
  const std::vector<int64_t> before = p.integers("before"), after = p.integers("after");
  if (int(before.size()) != x.rank || int(after.size()) != x.rank || y.rank != x.rank) return nullptr;
  Part part;
  for (int i = 0; i < x.rank; i++) {
    const int64_t left = before[size_t(i)], right = after[size_t(i)];
    if (left < 0 || right < 0 || y.shape[i] != x.shape[i] + left + right) return nullptr;
    part.start[i] = left, part.count[i] = x.shape[i], part.step[i] = 1;
  }
  std::vector<Step> steps;
  fill_around(y, part, steps);
  steps.push_back({copy_part(y, part, x, true), 0});
  return make_steps("copy", std::move(steps), FillValue(p.number("value", 0.0), y.dtype));
}

// In storage order every input is `outer` runs of numbers, and the output takes one run of each by turns.
KernelPtr make_concat(const Problem& p) {
  const Spec& y = p.outputs[0];
  const int64_t dim = p.integer("dim");
  if (dim < 0 || dim >= y.rank) return nullptr;
  const int64_t bytes = int64_t(element_bytes(p)), inner = y.stride[dim] * bytes, row = y.shape[dim] * inner;
  std::vector<int64_t> run;  // bytes of a run of each input
  for (const Spec& x : p.inputs) {
    if (!x.present() || x.dtype != y.dtype || x.rank != y.rank) return nullptr;
    run.push_back(x.shape[dim] * inner);
  }
  const int64_t outer = row == 0 ? 0 : y.elements() * bytes / row;
  constexpr int64_t LONG_ROW = 1 << 18;
  if (row >= LONG_ROW) {
    std::vector<Step> steps;
    int64_t start = 0;
    for (size_t k = 0; k < run.size(); k++) {
      steps.push_back({StridedCopy({{outer, run[k], row}, {run[k], 1, 1}}, 1, 0, start), int(k)});
      start += run[k];
    }
    return make_steps("copy", std::move(steps));
  }
  return make_function_kernel("runs", [=](const Arguments& a) {
    parallel_range(outer, items_within(LONG_ROW / 2, row + 1), [&](int64_t begin, int64_t end) {
      char* to = a.out<char>(0) + begin * row;
      for (int64_t i = begin; i < end; i++)
        for (size_t k = 0; k < run.size(); k++) {
          std::memcpy(to, a.in<char>(int(k)) + i * run[k], size_t(run[k]));
          to += run[k];
        }
    });
  });
}

}  // namespace

Family movement_family() {
  return {
      {"reshape", make_reshape},
      {"permute", make_permute},
      {"broadcast_to", make_broadcast_to},
      {"flip", make_flip},
      {"slice", make_slice},
      {"slice_grad", make_slice_grad},
      {"pad", make_pad},
      {"concat", make_concat},
  };
}

}  // namespace coolnn
