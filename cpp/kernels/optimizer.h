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

// Where an update takes the gradient of its n numbers from: an array, or, where that is null, one row of a product of
// little depth, sum over k of a[k * a_step] * b[k * b_step + i], which is never written. `ahead` is how far on, in all
// other arrays, the numbers lie that will be needed soon.
struct GradientSource {
  const float* given;
  const float* a = nullptr;
  int64_t a_step = 0;
  const float* b = nullptr;
  int64_t b_step = 0, depth = 0;
  int64_t ahead = 0;
};

struct OptimizerTable {
  // A null buffer: no momentum.
  void (*sgd)(const float* param, const GradientSource& grad, const float* buffer, float* new_param, float* new_buffer,
              int64_t n, SgdSettings s);
  void (*adam)(const float* param, const GradientSource& grad, const float* m, const float* v, float* new_param,
               float* new_m, float* new_v, int64_t n, AdamSettings s);
  void (*rmsprop)(const float* param, const GradientSource& grad, const float* square, const float* buffer,
                  float* new_param, float* new_square, float* new_buffer, int64_t n, RmspropSettings s);
  void (*ema)(const float* average, const float* param, float* new_average, int64_t n, float decay);
};

}  // namespace coolnn
