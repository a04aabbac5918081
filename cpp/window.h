// The windows of pooling along one axis, and work shared out by rows.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "parallel.h"
#include "rounding.h"

namespace coolnn {

// Output o looks at count[o] inputs, from first[o], `step` apart; all of them inside the picture.
struct Windows {
  std::vector<int32_t> first, count;
  int32_t step = 1;

  int64_t size() const { return int64_t(first.size()); }
};

inline Windows pooling_windows(int64_t input, int64_t output, int64_t kernel, int64_t stride, int64_t padding,
                               int64_t dilation) {
  Windows windows;
  windows.step = int32_t(dilation);
  for (int64_t o = 0; o < output; o++) {
    const int64_t start = o * stride - padding;
    const int64_t skipped = start < 0 ? (-start + dilation - 1) / dilation : 0;
    const int64_t end = start < input ? std::min(kernel, (input - start + dilation - 1) / dilation) : 0;
    const bool empty = end <= skipped;
    windows.first.push_back(empty ? 0 : int32_t(start + skipped * dilation));
    windows.count.push_back(empty ? 0 : int32_t(end - skipped));
  }
  return windows;
}

// Adaptive pooling: output o of n looks at inputs [floor(o * input / n), ceil((o + 1) * input / n)).
inline Windows adaptive_windows(int64_t input, int64_t output) {
  Windows windows;
  for (int64_t o = 0; o < output; o++) {
    const int64_t start = o * input / output, end = ((o + 1) * input + output - 1) / output;
    windows.first.push_back(int32_t(start));
    windows.count.push_back(int32_t(end - start));
  }
  return windows;
}

// For each input the range of outputs whose windows reach over it.
inline Windows covering(const Windows& windows, int64_t input) {
  Windows cover;
  cover.first.assign(size_t(input), 0);
  cover.count.assign(size_t(input), 0);
  for (int32_t o = 0; o < int32_t(windows.size()); o++) {
    const int32_t first = windows.first[size_t(o)];
    const int32_t end = first + (windows.count[size_t(o)] - 1) * windows.step + 1;
    for (int32_t i = first; i < end && windows.count[size_t(o)] > 0; i++) {
      if (cover.count[size_t(i)] == 0) cover.first[size_t(i)] = o;
      cover.count[size_t(i)] = o + 1 - cover.first[size_t(i)];
    }
  }
  return cover;
}

// How many rows make a chunk that is worth a thread, where one row costs that many vector operations.
inline int64_t rows_per_chunk(int64_t row_cost) {
  constexpr int64_t CHUNK_COST = 4096;  // a few microseconds
  return items_within(CHUNK_COST, row_cost);
}

}  // namespace coolnn
