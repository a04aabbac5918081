#pragma once
#include <stdint.h>

namespace coolnn {
struct OptimizerTable {
  int placeholder;
};
}  // namespace coolnn
