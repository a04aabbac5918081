#pragma once
#include <stdint.h>

namespace coolnn {

// Pictures "in lanes": as many pictures as a vector has lanes, one in each, so that a number of all of them is a vector.

// Lines of pictures, to or from lanes.
struct LaneLines {
  int64_t picture_stride;  // floats from picture to picture
  int64_t pictures;        // at most the number of lanes; the others read as zero
  int64_t line_stride;     // floats from line to line
  int64_t line_floats;     // numbers in a line
  int64_t lane_line;       // floats from line to line in lanes
  int64_t lines;
};

// y[pixel][output] = bias[output] + sum over k of weight[k][output] * x[pixel + k].
struct LaneProduct {
  const float* x;
  const int64_t* x_offsets;  // of each pixel, in floats
  float* y;
  const int64_t* y_offsets;
  int64_t pixels;
  const int64_t* depth_offsets;  // of each k, in floats
  int64_t depth;
  int64_t depth_begin, depth_end;  // those k that count for these pixels
  const float* weights;            // [block of outputs][k][output of the block], blocks of `height`
  int64_t outputs, height;
  const float* bias;  // or null
};

// sums[output][k] += sum over pixels of grad[pixel][output] * x[pixel + k], each a vector of lanes.
struct LaneWeights {
  const float* x;
  const int64_t* x_offsets;
  const float* grad;  // pixels one after another
  int64_t pixels;
  const int64_t* depth_offsets;
  int64_t depth;
  int64_t outputs;
  float* sums;
};

struct BatchLanesTable {
  int most_outputs;  // of a block
  void (*to_lanes)(const LaneLines& lines, const float* pictures, float* lanes);
  void (*from_lanes)(const LaneLines& lines, const float* lanes, float* pictures);
  void (*multiply)(const LaneProduct& product);
  void (*add_weights)(const LaneWeights& weights);
  // to[i] = sum of the lanes of vector i.
  void (*sum_lanes)(const float* lanes, int64_t n, float* to);
};

}  // namespace coolnn
