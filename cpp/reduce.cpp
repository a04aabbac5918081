#include "isa.h"
#include "kernel.h"
#include "parallel.h"

namespace coolnn {

Family reduce_family() { return {}; }

}  // namespace coolnn
