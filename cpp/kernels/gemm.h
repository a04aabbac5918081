#pragma once
#include <stdint.h>

namespace coolnn {
struct GemmTable {
  int placeholder;
};
}  // namespace coolnn
