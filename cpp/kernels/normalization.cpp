#include "kernels/normalization.h"

#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

extern const NormalizationTable normalization_table;
const NormalizationTable normalization_table = {0};

}  // namespace COOLNN_ISA
}  // namespace coolnn
