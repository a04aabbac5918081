// Updates of weights, one pass over memory each. Outputs may be the inputs' own buffers.
#pragma once
#include <stdint.h>

namespace coolnn {

struct SgdSettings {
  float rate, grad_scale, momentum, one_minus_dampening, weight_decay;
  bool nesterov, first;
};
struct AdamSettings {
  // The step is rate / correction1 * m / (sqrt(v / correction2) + eps).
  float grad_scale, beta1, one_minus_beta1, beta2, one_minus_beta2, eps;
  float step, inverse_root_correction2;  // rate / correction1 and 1 / sqrt(correction2)
  float weight_decay;                    // added to the gradient
  float shrink;                          // what the parameter is multiplied by first: 1 - rate * decoupled decay
};
struct RmspropSettings {
  float rate, grad_scale, alpha, one_minus_alpha, eps, weight_decay, momentum;
};

struct OptimizerTable {
  // A null buffer: no momentum.
  void (*sgd)(const float* param, const float* grad, const float* buffer, float* new_param, float* new_buffer,
              int64_t n, SgdSettings s);
  void (*adam)(const float* param, const float* grad, const float* m, const float* v, float* new_param, float* new_m,
               float* new_v, int64_t n, AdamSettings s);
  void (*rmsprop)(const float* param, const float* grad, const float* square, const float* buffer, float* new_param,
                  float* new_square, float* new_buffer, int64_t n, RmspropSettings s);
  void (*ema)(const float* average, const float* param, float* new_average, int64_t n, float decay);
};

}  // namespace coolnn
