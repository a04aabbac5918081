#pragma once
#include <stdint.h>

namespace coolnn {
struct PoolTable {
  int placeholder;
};
}  // namespace coolnn
