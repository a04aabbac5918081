#include "isa.h"
#include "kernel.h"
#include "parallel.h"

namespace coolnn {

Family conv_family() { return {}; }

}  // namespace coolnn
