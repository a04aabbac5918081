#include "isa.h"
#include "kernel.h"
#include "parallel.h"

namespace coolnn {

Family softmax_family() { return {}; }

}  // namespace coolnn
