#pragma once
#include <stdint.h>

namespace coolnn {
struct ReduceTable {
  int placeholder;
};
}  // namespace coolnn
