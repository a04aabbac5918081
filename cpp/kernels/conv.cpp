#include "kernels/conv.h"

#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

extern const ConvTable conv_table;
const ConvTable conv_table = {0};

}  // namespace COOLNN_ISA
}  // namespace coolnn
