#include "kernels/pool.h"

#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

extern const PoolTable pool_table;
const PoolTable pool_table = {0};

}  // namespace COOLNN_ISA
}  // namespace coolnn
