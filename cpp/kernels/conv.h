#pragma once
#include <stdint.h>

#include "kernels/conv_batch_lanes.h"
#include "kernels/conv_depthwise.h"
#include "kernels/conv_direct.h"
#include "kernels/conv_pooled_lanes.h"

namespace coolnn {

// A patch is what one output pixel sees, as a vector: runs of neighbouring numbers of a channels-last picture, each
// beginning `dy` rows and `dx` pixels from the patch's corner.
struct PatchRun {
  int64_t dy, dx;
  int64_t start, length;  // in the vector; in floats
};

// Patches of a batch of pictures, one for each point of a grid; outside the picture they read zeros.
struct PatchSource {
  const float* data;  // the first channel wanted
  const float* end;   // of the pictures' memory
  int64_t height, width;
  int64_t pixel;                 // floats from pixel to pixel
  int64_t grid_h, grid_w;        // patches in a picture
  int64_t step_h, step_w;        // between neighbouring patches, in pixels
  const PatchRun* runs;          // ordered by start
  int64_t run_count;
};

struct ConvTable {
  // Copies the numbers [from, to) of the patches [first, first + count) as rows of A (see PanelOrder::rows).
  void (*gather_rows)(const PatchSource& source, int64_t first, int64_t count, int64_t from, int64_t to, float* a);
  // The same as panels of B, with a patch for each step of the depth.
  void (*gather_panels)(const PatchSource& source, int64_t first, int64_t count, int64_t from, int64_t to, float* b);
  // to[i] += from[i]
  void (*add)(const float* from, float* to, int64_t n);
  // A line of a depthwise convolution: `y_pixel` floats from output to output; the residual lies as y.
  void (*depthwise_line)(const DepthwiseLine& line, const GemmEpilogue& epilogue, float* y, int64_t y_pixel);
  // Adds the part of a line to the taps' weight gradients.
  void (*depthwise_line_weights)(const DepthwiseLine& line, const float* grad);
  const BatchLanesTable& batch_lanes;
  const DirectTable& direct;
  const PooledLanesTable& pooled_lanes;
};

}  // namespace coolnn
