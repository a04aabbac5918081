// Rows of windows cut into spans of windows of one size, which get loops of their own. Included by kernels/*.cpp only.
#pragma once
#include "simd.h"

#define NOINLINE __attribute__((noinline))

namespace coolnn {
namespace COOLNN_ISA {

static INLINE int64_t equal_until(const int32_t* count, int64_t begin, int64_t width) {
  int64_t end = begin + 1;
  while (end < width && count[end] == count[begin]) end++;
  return end;
}

// The end of the span from `begin`. Its counts are all the same if *even is set; sizes that change all the time
// (overlapping windows seen from the pixels' side) make one uneven span.
static INLINE int64_t span_end(const int32_t* count, int64_t begin, int64_t width, bool* even) {
  constexpr int64_t WORTHWHILE = 4;
  int64_t end = equal_until(count, begin, width);
  *even = end - begin >= WORTHWHILE || (begin == 0 && end == width);
  while (!*even && end < width) {
    const int64_t next = equal_until(count, end, width);
    if (next - end >= WORTHWHILE) break;
    end = next;
  }
  return end;
}

}  // namespace COOLNN_ISA
}  // namespace coolnn
