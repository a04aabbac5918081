#pragma once
#include <stdint.h>

namespace coolnn {
struct ConvTable {
  int placeholder;
};
}  // namespace coolnn
