#pragma once
#include <stdint.h>

namespace coolnn {

// One line of a convolution's output, computed straight from padded lines of the input.
struct DirectLine {
  const float* x;       // corner of the first output pixel's patch
  int64_t pixel;        // floats from corner to corner
  const int64_t* runs;  // of a patch: where each run of neighbouring numbers begins, in floats from its corner
  int64_t run_count, run_length;
  const float* weights;  // [block of DirectTable::columns outputs][number of the patch][output], zero beyond the last
  int64_t outputs, pixels;
  const float *bias, *residual;  // or null; the residual lies as y does
  float low, high;               // bounds of the result
  float* y;
  bool stream;  // written past the caches: y aligned, outputs a multiple of the vector
};

struct DirectTable {
  int columns;  // outputs that are computed together
  void (*line)(const DirectLine& line);
};

}  // namespace coolnn
