// Joins the families' tables of one instruction set. Like every file in this folder it is compiled once per
// instruction set, with COOLNN_ISA naming it; see CMakeLists.txt.
#include "isa.h"

#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

extern const ElementwiseTable elementwise_table;
extern const ReduceTable reduce_table;
extern const MovementTable movement_table;
extern const GemmTable gemm_table;
extern const ConvTable conv_table;
extern const WinogradTable winograd_table;
extern const PoolTable pool_table;
extern const ResampleTable resample_table;
extern const NormalizationTable normalization_table;
extern const SoftmaxTable softmax_table;
extern const DropoutTable dropout_table;
extern const OptimizerTable optimizer_table;
extern const ProbeTable probe_table;

extern const IsaTable table;
const IsaTable table = {
    TEXT(COOLNN_ISA),
    VL,
    elementwise_table,
    reduce_table,
    movement_table,
    gemm_table,
    conv_table,
    winograd_table,
    pool_table,
    resample_table,
    normalization_table,
    softmax_table,
    dropout_table,
    optimizer_table,
    probe_table,
};

}  // namespace COOLNN_ISA
}  // namespace coolnn
