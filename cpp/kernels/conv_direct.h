#pragma once
#include <stdint.h>

#include "kernels/gemm.h"

namespace coolnn {

// Neighbouring numbers of a picture that belong to one patch, from the patch's corner on; in floats.
struct DirectRun {
  int64_t offset, length;
};

// Some output channels (at most two vectors of them) of a line of output pixels.
struct DirectLine {
  const float* x;         // the corner of the first patch; all patches lie in memory as a whole
  int64_t x_pixel;        // floats from patch to patch
  const DirectRun* runs;  // of the numbers that are summed
  int64_t run_count;
  // Each number of a patch has one row of weights, a number an output channel, tile_columns floats apart.
  const float* weights;
  int64_t pixels, channels;
  float* y;
  int64_t y_pixel;
  GemmEpilogue epilogue;  // from the first channel on; the residual lies as y
  bool stream;            // written past the caches: then y is aligned and channels are whole vectors
};

struct DirectTable {
  // Every output channel sums the same numbers.
  void (*line)(const DirectLine& line);
  // Groups of 2, 4 or 8 channels (the index is the logarithm): an output channel sums the numbers of its own group. Each
  // run is one tap with the channels of all groups in question, and has as many rows of weights as a group has channels.
  // Null where a vector holds no such groups. At most one vector of channels.
  void (*grouped_line[4])(const DirectLine& line);
};

}  // namespace coolnn
