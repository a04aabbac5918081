// Copies between two arrangements of the same elements: what all movement of data is made of.
#pragma once
#include <cstdint>
#include <vector>

#include "kernel.h"
#include "kernels/movement.h"

namespace coolnn {

// One axis of a copy: its length, and the distance (in elements) between neighbours on either side. A source stride
// of 0 repeats, a negative one reverses.
struct CopyAxis {
  int64_t size, src, dst;
};

class StridedCopy {
 public:
  StridedCopy() = default;  // copies nothing
  // Axes in any order. The element at position (0, 0, ...) goes from src[src_offset] to dst[dst_offset].
  StridedCopy(std::vector<CopyAxis> axes, size_t element_bytes, int64_t src_offset = 0, int64_t dst_offset = 0);
  void run(const void* src, void* dst) const;
  bool empty() const { return copy_ == nullptr; }

 private:
  CopyRows copy_ = nullptr;
  int64_t element_bytes_ = 0, src_offset_ = 0, dst_offset_ = 0;
  std::vector<CopyAxis> outer_;
  CopyAxis rows_{1, 0, 0}, inner_{1, 1, 1};
  int64_t row_block_ = 1, inner_block_ = 1;  // what one chunk takes of rows_ and inner_
};

// The axes of `spec` from slowest to fastest in memory.
std::vector<int> storage_order(const Spec& spec);

}  // namespace coolnn
