#pragma once
#include <stdint.h>

namespace coolnn {
struct SoftmaxTable {
  int placeholder;
};
}  // namespace coolnn
