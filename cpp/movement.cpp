#include "isa.h"
#include "kernel.h"
#include "parallel.h"

namespace coolnn {

Family movement_family() { return {}; }

}  // namespace coolnn
