// Functions of one element at a time. The lists name each function once; tables, factories and names come from them.
#pragma once
#include <stdint.h>

namespace coolnn {

#define COOLNN_UNARY(X)                                                                                             \
  X(neg) X(abs) X(exp) X(log) X(sqrt) X(rsqrt) X(sign) X(floor) X(square) X(reciprocal) X(erf) X(sin) X(cos)        \
  X(relu) X(relu6) X(leaky_relu) X(clip) X(sigmoid) X(tanh) X(silu) X(hardswish) X(softplus) X(gelu) X(gelu_tanh)
// (gradient, saved) -> gradient; what is saved is the output of the first three, the input of the others.
#define COOLNN_GRADIENT(X)                                                                                          \
  X(relu_grad) X(sigmoid_grad) X(tanh_grad)                                                                         \
  X(relu6_grad) X(leaky_relu_grad) X(clip_grad) X(silu_grad) X(hardswish_grad) X(softplus_grad) X(gelu_grad)        \
  X(gelu_tanh_grad)
#define COOLNN_BINARY(X) X(add) X(sub) X(mul) X(div) X(pow) X(maximum) X(minimum)
#define COOLNN_COMPARE(X) X(eq) X(ne) X(lt) X(le) X(gt) X(ge)
#define COOLNN_CAST(X)                                                                                              \
  X(f32_to_u8) X(f32_to_i32) X(f32_to_i64) X(f32_to_boolean) X(f32_to_f64)                                          \
  X(u8_to_f32) X(i32_to_f32) X(i64_to_f32) X(boolean_to_f32) X(f64_to_f32)

#define COOLNN_ENTRY(name) name,
enum class Unary { COOLNN_UNARY(COOLNN_ENTRY) count };
enum class Gradient { COOLNN_GRADIENT(COOLNN_ENTRY) count };
enum class Binary { COOLNN_BINARY(COOLNN_ENTRY) count };
enum class Compare { COOLNN_COMPARE(COOLNN_ENTRY) count };
enum class Cast { COOLNN_CAST(COOLNN_ENTRY) count };
#undef COOLNN_ENTRY

// What some functions are told beside their elements: leaky_relu its slope; clip its bounds; softplus beta, threshold.
struct ElementwiseParameters {
  float a = 0, b = 0;
};

// How the two operands move inside a row of the output: both along with it, or one of them standing.
enum class Rows { both = 0, first = 1, second = 2, count = 3 };

struct ElementwiseTable {
  using UnaryFunction = void (*)(const float* x, float* y, int64_t n, ElementwiseParameters p);
  using GradientFunction = void (*)(const float* grad, const float* saved, float* dx, int64_t n,
                                    ElementwiseParameters p);
  // rows x n elements, densely written; the operands' rows begin a_row and b_row elements apart.
  using BinaryFunction = void (*)(const float* a, int64_t a_row, const float* b, int64_t b_row, float* y, int64_t rows,
                                  int64_t n);
  using CompareFunction = void (*)(const float* a, int64_t a_row, const float* b, int64_t b_row, uint8_t* y,
                                   int64_t rows, int64_t n);
  using WhereFunction = void (*)(const uint8_t* mask, int64_t mask_row, const float* a, int64_t a_row, const float* b,
                                 int64_t b_row, float* y, int64_t rows, int64_t n);
  using CastFunction = void (*)(const void* x, void* y, int64_t n);

  UnaryFunction unary[int(Unary::count)];
  GradientFunction gradient[int(Gradient::count)];
  BinaryFunction binary[int(Binary::count)][int(Rows::count)];
  CompareFunction compare[int(Compare::count)][int(Rows::count)];
  WhereFunction where[8];  // by mask + 2 a + 4 b, each 1 if that operand moves along inside a row
  CastFunction cast[int(Cast::count)];
  // y = clamp(y + residual, low, high); residual may be null.
  void (*finish)(float* y, const float* residual, float low, float high, int64_t n);
};

}  // namespace coolnn
