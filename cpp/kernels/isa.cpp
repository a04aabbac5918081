// Joins the families' tables of one instruction set. Like every file in this folder it is compiled once per
// instruction set, with COOLNN_ISA naming it; see CMakeLists.txt.
#include "isa.h"

#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

extern const ElementwiseTable elementwise_table;

extern const IsaTable table;
const IsaTable table = {
    TEXT(COOLNN_ISA),
    VL,
    elementwise_table,
};

}  // namespace COOLNN_ISA
}  // namespace coolnn
