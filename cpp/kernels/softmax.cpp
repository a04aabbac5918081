#include "kernels/softmax.h"

#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

extern const SoftmaxTable softmax_table;
const SoftmaxTable softmax_table = {0};

}  // namespace COOLNN_ISA
}  // namespace coolnn
