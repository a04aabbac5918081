// Convolution (cross-correlation) and its two gradients: the shape, and the algorithms that can compute a pass.
#pragma once
#include "finish.h"
#include "kernel.h"

namespace coolnn {

// Activations are stored N, H, W, C and weights O, H, W, I/groups. Padding may differ on the four sides.
struct ConvShape {
  int64_t n, ic, ih, iw;          // input
  int64_t oc, oh, ow;             // output
  int64_t kh, kw;                 // kernel (filter) size
  int64_t sh, sw;                 // stride
  int64_t pt, pl, pb, pr;         // padding: top, left, bottom, right
  int64_t dh, dw;                 // dilation
  int64_t groups;
  bool constant_weights = false;  // see Kernel::pack; not of the weight gradient
  bool bf16 = false;              // see Problem; of the forward pass alone
  // Of the forward pass alone:
  Finish finish;
  int64_t pool = 1;               // maximum over pool x pool windows of the finished result
  int64_t group_ic() const { return ic / groups; }
  int64_t group_oc() const { return oc / groups; }
  int64_t macs() const { return n * oh * ow * oc * group_ic() * kh * kw; }
};

enum class ConvPass { forward, input_grad, weight_grad };

// Buffers by pass:   inputs                       output
//   forward          x, weight, bias (or null)    y
//   input_grad       grad of y, weight            grad of x
//   weight_grad      x, grad of y                 grad of weight
struct ConvAlgorithm {
  const char* name;
  bool finishes;  // does what ConvShape::finish says; else another pass does it
  bool pools;     // and what ConvShape::pool says; else there is no such kernel
  bool (*accepts)(const ConvShape& shape, ConvPass pass);
  double (*cost)(const ConvShape& shape, ConvPass pass);  // expected time in units of one direct multiply-add at peak
  KernelPtr (*make)(const ConvShape& shape, ConvPass pass);
};

// Each channel for itself.
extern const ConvAlgorithm depthwise_convolution;
// A picture of the batch in each lane: few channels.
extern const ConvAlgorithm batch_lanes_convolution;
// Read where it lies: few channels in a group.
extern const ConvAlgorithm direct_convolution;
// The gradient of an input with few channels.
extern const ConvAlgorithm tap_planes_convolution;
// Several groups as one.
extern const ConvAlgorithm merged_groups_convolution;
// A matrix product whose operands are read as patches: any shape, the fallback of all others.
extern const ConvAlgorithm implicit_gemm;
// The same with operands rounded to bfloat16; the forward pass where ConvShape::bf16 allows it.
extern const ConvAlgorithm implicit_gemm_bf16;

// 3 x 3, stride 1, many channels; only where options().winograd allows it, as its rounding error is larger.
extern const ConvAlgorithm winograd_convolution;

// The forward pass with pooling by two, a picture in each lane: few channels. With `indices` the second output tells
// which pixel of its plane was the largest of each window.
bool pooled_forward_accepts(const ConvShape& shape);
double pooled_forward_cost(const ConvShape& shape);
KernelPtr make_pooled_forward(const ConvShape& shape, bool indices);

// The cost of the algorithm that a pass takes.
double least_cost(const ConvShape& shape, ConvPass pass);

}  // namespace coolnn
