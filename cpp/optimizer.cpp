#include "isa.h"
#include "kernel.h"
#include "parallel.h"

namespace coolnn {

Family optimizer_family() { return {}; }

}  // namespace coolnn
