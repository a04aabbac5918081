#pragma once
#include <stdint.h>

namespace coolnn {

// Pieces of normalisation, over two layouts: `columns` (rows of numbers, `stride` apart, where each column has its own
// statistics: channels-last pictures) and `run` (contiguous numbers that share them: planes of row-major tensors).
//
// Moments come as three numbers, for x_1 .. x_n: a shift m near their mean, the sum of (x - m) and that of (x - m)^2.
// The mean is then m + sum / n and the sum of squares about it square - sum^2 / n, exact also where the mean is large.
struct NormalizationTable {
  void (*column_moments)(const float* x, int64_t rows, int64_t columns, int64_t stride, float* shift, float* sum,
                         float* square);
  void (*run_moments)(const float* x, int64_t n, float* shift, float* sum, float* square);
  // y = (x - minus) * scale + plus
  void (*column_affine)(const float* x, const float* minus, const float* scale, const float* plus, float* y,
                        int64_t rows, int64_t columns, int64_t stride);
  void (*run_affine)(const float* x, float minus, float scale, float plus, float* y, int64_t n);
  // sum of g, and of g * (x - mean)
  void (*column_products)(const float* g, const float* x, const float* mean, int64_t rows, int64_t columns,
                          int64_t stride, float* sum, float* product);
  void (*run_products)(const float* g, const float* x, float mean, int64_t n, float* sum, float* product);
  // dx = a * g + b * (x - mean) + c
  void (*column_combine)(const float* g, const float* x, const float* mean, const float* a, const float* b,
                         const float* c, float* dx, int64_t rows, int64_t columns, int64_t stride);
  void (*run_combine)(const float* g, const float* x, float mean, float a, float b, float c, float* dx, int64_t n);
  // y = x * scale + shift
  void (*column_scale_shift)(const float* x, const float* scale, const float* shift, float* y, int64_t rows,
                             int64_t columns, int64_t stride);
  void (*run_scale_shift)(const float* x, float scale, float shift, float* y, int64_t n);

  // One row with a weight and a bias for each of its n numbers (null: 1 and 0).
  void (*layer_norm_row)(const float* x, const float* weight, const float* bias, double eps, float* y, float* mean,
                         float* rstd, int64_t n);
  // Adds this row's share to dweight and dbias.
  void (*layer_norm_grad_row)(const float* g, const float* x, const float* weight, float mean, float rstd, float* dx,
                              float* dweight, float* dbias, int64_t n);
};

}  // namespace coolnn
