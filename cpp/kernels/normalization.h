#pragma once
#include <stdint.h>

namespace coolnn {
struct NormalizationTable {
  int placeholder;
};
}  // namespace coolnn
