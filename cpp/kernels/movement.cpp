#include "kernels/movement.h"

#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

extern const MovementTable movement_table;
const MovementTable movement_table = {0};

}  // namespace COOLNN_ISA
}  // namespace coolnn
