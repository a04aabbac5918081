#include "kernels/winograd.h"

#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

extern const WinogradTable winograd_table;
const WinogradTable winograd_table = {0};

}  // namespace COOLNN_ISA
}  // namespace coolnn
