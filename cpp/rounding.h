// Cutting into parts: how many there are, how long they are together, and how many go into one.
#pragma once
#include <algorithm>
#include <cstdint>

namespace coolnn {

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }
// Items of a size that go into a budget: at least one, also where they are larger, or empty.
inline int64_t items_within(int64_t budget, int64_t size) {
  return std::max<int64_t>(1, budget / std::max<int64_t>(1, size));
}

}  // namespace coolnn
