#pragma once
#include <stdint.h>

namespace coolnn {

// How the positions along one axis are made of others: destination d is the weighted sum of count[d] sources from
// first[d], with weights from weight[begin[d]], or their plain sum divided by divisor[d] where that is given.
struct ResampleAxis {
  const int32_t *first, *count, *begin;
  const float* weight;
  const float* divisor;  // null: weighted
};

// One destination row of a channels-last picture: the outer product of one step along the height and those along the
// width. Average pooling, resizing and their gradients are all this.
struct ResampleRow {
  const float* x;      // the sample
  const float* x_end;  // end of the memory that may be read
  float* y;            // the destination row
  const float* y_end;  // end of the memory that may be written (and is written again if it belongs to a later row)
  int64_t channels, channel_begin, channel_end;  // all channels, and those to do
  int64_t width, out_width;
  int64_t row;  // the destination row's number
  const ResampleAxis *vertical, *horizontal;
};

struct ResampleTable {
  void (*row)(const ResampleRow& r);
};

}  // namespace coolnn
