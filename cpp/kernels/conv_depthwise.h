#pragma once
#include <stdint.h>

namespace coolnn {

struct DepthwiseTap {
  int64_t offset;         // from the patch's corner, in floats
  int64_t dx;             // from the patch's corner, in pixels
  const float* weight;    // of the first channels, see DepthwiseLine
  float* weight_grad;     // one a channel
};

// One line of patches, each channel for itself. The taps are those whose line is inside the picture. Weights lie in blocks
// of as many channels as a vector has lanes, filled up with zeros: [block][tap][channel].
struct DepthwiseLine {
  const float* x;               // the first pixel of the line that the first patch's corner lies on
  int64_t width, channels;      // of the picture
  int64_t step;                 // pixels from patch to patch
  const DepthwiseTap* taps;
  int64_t tap_count;
  int64_t count;                // patches
  int64_t full_begin, full_end;  // those that lie inside the line as a whole
  int64_t all_taps;             // of a block of weights
  int64_t row_taps;             // if not 0: so many taps each lie beside one another, from left to right,
  int64_t row_step;             // and their weights so many floats apart
};

}  // namespace coolnn
