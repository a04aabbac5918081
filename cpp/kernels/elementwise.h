#pragma once
#include <stdint.h>

namespace coolnn {
struct ElementwiseTable {
  void (*relu)(const float* x, float* y, int64_t n);
};
}  // namespace coolnn
