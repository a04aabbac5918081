#pragma once
#include <stdint.h>

namespace coolnn {

struct SoftmaxTable {
  // Over rows of n contiguous numbers each.
  void (*softmax_rows)(const float* x, float* y, int64_t rows, int64_t n);
  void (*log_softmax_rows)(const float* x, float* y, int64_t rows, int64_t n);
  void (*softmax_grad_rows)(const float* grad, const float* y, float* dx, int64_t rows, int64_t n);
  void (*log_softmax_grad_rows)(const float* grad, const float* y, float* dx, int64_t rows, int64_t n);
  // Over n numbers `stride` apart, for `lanes` neighbouring positions.
  void (*softmax_strided)(const float* x, float* y, int64_t n, int64_t stride, int64_t lanes);
  void (*log_softmax_strided)(const float* x, float* y, int64_t n, int64_t stride, int64_t lanes);
  void (*softmax_grad_strided)(const float* grad, const float* y, float* dx, int64_t n, int64_t stride, int64_t lanes);
  void (*log_softmax_grad_strided)(const float* grad, const float* y, float* dx, int64_t n, int64_t stride,
                                   int64_t lanes);
  // For each row its maximum m and sum of exp(x - m), and where `deficit` is given the sum of weight * (m - x) too
  // (a null weight: all ones).
  void (*exp_sum_rows)(const float* x, const float* weight, float* maximum, float* sum, float* deficit, int64_t rows,
                       int64_t n);
  // One row: dx = a * softmax(x) - b * weight (a null weight: all ones).
  void (*cross_entropy_grad_row)(const float* x, const float* weight, float a, float b, float* dx, int64_t n);
};

}  // namespace coolnn
