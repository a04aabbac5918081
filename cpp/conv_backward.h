// conv2d_backward: all gradients of a convolution, and of a relu and a max-pooling behind it.
#pragma once
#include "conv.h"

namespace coolnn {

// Inputs of the operation; y, indices, x and weight may be absent.
enum ConvBackwardInput { BACKWARD_GRAD, BACKWARD_Y, BACKWARD_INDICES, BACKWARD_X, BACKWARD_WEIGHT, BACKWARD_INPUTS };

struct ConvBackwardShape {
  ConvShape conv;
  bool masked, pooled;
  int64_t gh, gw;           // of the given gradient: windows, where there is pooling
  bool pooled_by_two;       // over 2 x 2 windows side by side, none of them beyond the edge
  int dx, dweight, dbias;   // which output each is, -1 where it is not wanted
};

// A picture in each lane: few channels before pooling by two.
bool pooled_lanes_accepts(const ConvBackwardShape& shape);
double pooled_lanes_cost(const ConvBackwardShape& shape);  // in the units of ConvAlgorithm::cost
KernelPtr make_pooled_lanes(const ConvBackwardShape& shape);

}  // namespace coolnn
