// Updates of weights, to be applied to any part of them: by the kernels of the steps, and by those that make a gradient
// block by block and use it up at once.
#pragma once
#include <memory>

#include "kernel.h"
#include "kernels/optimizer.h"

namespace coolnn {

// Where an update finds the weights and their gradient among its inputs.
constexpr int UPDATE_PARAM = 0, UPDATE_GRAD = 1;

class Update {
 public:
  virtual ~Update() = default;
  // The numbers [begin, end) of the outputs. `inputs` and `outputs` are the step's, but the gradient of these numbers
  // comes from `grad`.
  virtual void apply(const void* const* inputs, void* const* outputs, const GradientSource& grad, int64_t begin,
                     int64_t end) const = 0;
};

// By the problem's name (sgd_step, ...); null if it is no update or has types or shapes without a kernel.
std::unique_ptr<Update> make_update(const Problem& problem);

}  // namespace coolnn
