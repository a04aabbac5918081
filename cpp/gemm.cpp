#include "isa.h"
#include "kernel.h"
#include "parallel.h"

namespace coolnn {

Family gemm_family() { return {}; }

}  // namespace coolnn
