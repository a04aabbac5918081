#include "kernels/elementwise.h"

#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

static void relu(const float* x, float* y, int64_t n) {
  int64_t i = 0;
  for (; i + VL <= n; i += VL) store(y + i, max(load(x + i), zero()));
  if (i < n) store_partial(y + i, max(load_partial(x + i, int(n - i)), zero()), int(n - i));
}

extern const ElementwiseTable elementwise_table;
const ElementwiseTable elementwise_table = {relu};

}  // namespace COOLNN_ISA
}  // namespace coolnn
