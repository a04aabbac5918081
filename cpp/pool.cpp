#include "isa.h"
#include "kernel.h"
#include "parallel.h"

namespace coolnn {

Family pool_family() { return {}; }

}  // namespace coolnn
