#include "kernels/reduce.h"

#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

extern const ReduceTable reduce_table;
const ReduceTable reduce_table = {0};

}  // namespace COOLNN_ISA
}  // namespace coolnn
