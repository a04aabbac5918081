#pragma once
#include <stdint.h>

namespace coolnn {
struct MovementTable {
  int placeholder;
};
}  // namespace coolnn
