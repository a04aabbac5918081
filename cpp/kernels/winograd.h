#pragma once
#include <stdint.h>

namespace coolnn {
struct WinogradTable {
  int placeholder;
};
}  // namespace coolnn
