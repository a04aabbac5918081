#include "kernels/gemm.h"

#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

extern const GemmTable gemm_table;
const GemmTable gemm_table = {0};

}  // namespace COOLNN_ISA
}  // namespace coolnn
