#include "isa.h"
#include "kernel.h"
#include "parallel.h"

namespace coolnn {

Family normalization_family() { return {}; }

}  // namespace coolnn
