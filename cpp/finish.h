// What may follow a convolution or a product before its result is written: y = clamp(sum + bias + residual, low, high).
#pragma once
#include <cmath>

#include "kernel.h"

namespace coolnn {

struct Finish {
  bool residual = false;  // the problem's fourth input is added; it has the shape of the result
  float low = -INFINITY, high = INFINITY;

  Finish() = default;
  // From the inputs and the attributes low and high of conv2d_fused and linear_fused.
  explicit Finish(const Problem& p)
      : residual(p.inputs.size() > 3 && p.inputs[3].present()),
        low(float(p.number("low"))),
        high(float(p.number("high"))) {}
  bool clamps() const { return low > -INFINITY || high < INFINITY; }
  bool any() const { return residual || clamps(); }
};

// The same result for a kernel that knows nothing of it: another pass over its `elements` numbers.
KernelPtr with_finish(KernelPtr kernel, const Finish& finish, int64_t elements);

}  // namespace coolnn
