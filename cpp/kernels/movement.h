#pragma once
#include <stdint.h>

namespace coolnn {

// dst[r * dst_row + j * dst_step] = src[r * src_row + j * src_step] for r < rows, j < n; strides in elements, of any
// sign on the side of src, where 0 repeats.
using CopyRows = void (*)(const void* src, int64_t src_row, int64_t src_step, void* dst, int64_t dst_row,
                          int64_t dst_step, int64_t rows, int64_t n);

struct MovementTable {
  CopyRows copy1, copy4, copy8;  // by bytes an element
  // y += x, for sums of what arrives at the same place.
  void (*accumulate)(const float* x, float* y, int64_t n);
};

}  // namespace coolnn
