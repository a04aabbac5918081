#include "kernels/optimizer.h"

#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

extern const OptimizerTable optimizer_table;
const OptimizerTable optimizer_table = {0};

}  // namespace COOLNN_ISA
}  // namespace coolnn
