// conv2d, conv2d_input_grad and conv2d_weight_grad: from the problem to the cheapest algorithm.
#include "conv.h"

#include <algorithm>

namespace coolnn {
namespace {

const ConvAlgorithm* const ALGORITHMS[] = {
    &depthwise_convolution,
    &batch_lanes_convolution,
    &direct_convolution,
    &merged_groups_convolution,
    &tap_planes_convolution,
    &implicit_gemm,
    &implicit_gemm_bf16,
    &winograd_convolution,
};

const ConvAlgorithm* find_cheapest(const ConvShape& shape, ConvPass pass, double& least) {
  const ConvAlgorithm* best = nullptr;
  for (const ConvAlgorithm* algorithm : ALGORITHMS) {
    if (!algorithm->accepts(shape, pass)) continue;
    const double cost = algorithm->cost(shape, pass);
    if (best == nullptr || cost < least) best = algorithm, least = cost;
  }
  return best;
}

KernelPtr make_cheapest(const ConvShape& shape, ConvPass pass) {
  double cost = 0;
  const ConvAlgorithm* best = find_cheapest(shape, pass, cost);
  if (shape.pool > 1 && !best->pools) return nullptr;
  KernelPtr kernel = best->make(shape, pass);
  if (kernel->algorithm.empty()) kernel->algorithm = best->name;
  if (best->finishes) return kernel;
  return with_finish(std::move(kernel), shape.finish, shape.n * shape.oc * shape.oh * shape.ow);
}

void read_pair(const Problem& p, const char* key, int64_t& first, int64_t& second) {
  const std::vector<int64_t> pair = p.integers(key);
  if (pair.size() != 2) throw std::invalid_argument(p.name + ": " + key + " must be two numbers");
  first = pair[0], second = pair[1];
}

// The shape from the specs of the three tensors of a convolution, whichever of them are inputs of this pass.
bool parse(const Problem& p, const Spec& x, const Spec& weight, const Spec& y, ConvShape& s) {
  for (const Spec* spec : {&x, &weight, &y})
    if (spec->rank != 4 || spec->dtype != DType::f32) return false;
  s.n = x.shape[0], s.ic = x.shape[1], s.ih = x.shape[2], s.iw = x.shape[3];
  s.oc = y.shape[1], s.oh = y.shape[2], s.ow = y.shape[3];
  s.kh = weight.shape[2], s.kw = weight.shape[3];
  read_pair(p, "stride", s.sh, s.sw);
  read_pair(p, "dilation", s.dh, s.dw);
  const std::vector<int64_t> padding = p.integers("padding");
  if (padding.size() != 4) throw std::invalid_argument(p.name + ": padding must be four numbers");
  s.pt = padding[0], s.pl = padding[1], s.pb = padding[2], s.pr = padding[3];
  s.groups = p.integer("groups");
  const bool consistent = s.groups > 0 && s.ic == weight.shape[1] * s.groups && s.oc == weight.shape[0] &&
                          s.oc % s.groups == 0 && y.shape[0] == s.n &&
                          std::min({s.sh, s.sw, s.dh, s.dw}) > 0;
  if (!consistent) throw std::invalid_argument(p.name + ": the shapes of input, weight and output do not fit together");
  return true;
}

bool parse_forward(const Problem& p, const Spec& y, ConvShape& shape) {
  if (p.inputs.size() < 3) throw std::invalid_argument(p.name + " takes input, weight and bias (which may be absent)");
  const Spec& bias = p.inputs[2];
  if (bias.present() && bias.dtype != DType::f32) return false;
  shape.constant_weights = p.constant_weights;
  shape.bf16 = p.bf16;
  return parse(p, p.inputs[0], p.inputs[1], y, shape);
}

KernelPtr make_forward(const Problem& p) {
  ConvShape shape;
  return parse_forward(p, p.outputs[0], shape) ? make_cheapest(shape, ConvPass::forward) : nullptr;
}

// conv2d, then the addition of another tensor, a clamp and pooling, as far as they are wanted.
KernelPtr make_fused(const Problem& p) {
  ConvShape shape;
  shape.finish = Finish(p);
  shape.pool = p.integer("pool");
  Spec y = p.outputs[0];  // before pooling
  if (shape.pool > 1) {
    const std::vector<int64_t> size = p.integers("size_before_pool");
    y = Spec(y.dtype, {y.shape[0], y.shape[1], size.at(0), size.at(1)});
  }
  if (!parse_forward(p, y, shape)) return nullptr;
  constexpr double POOLING = 16;  // a number written, and read again to be pooled
  double least = 0;
  const bool indices = p.outputs.size() > 1, pools = find_cheapest(shape, ConvPass::forward, least)->pools;
  if (!pools || indices) least += POOLING * double(shape.n * shape.oc) * double(shape.oh * shape.ow);
  if (pooled_forward_accepts(shape) && pooled_forward_cost(shape) < least) return make_pooled_forward(shape, indices);
  return indices ? nullptr : make_cheapest(shape, ConvPass::forward);
}

KernelPtr make_input_grad(const Problem& p) {
  ConvShape shape;
  shape.constant_weights = p.constant_weights;
  if (!parse(p, p.outputs[0], p.inputs[1], p.inputs[0], shape)) return nullptr;
  return make_cheapest(shape, ConvPass::input_grad);
}

KernelPtr make_weight_grad(const Problem& p) {
  ConvShape shape;
  if (!parse(p, p.inputs[0], p.outputs[0], p.inputs[1], shape)) return nullptr;
  return make_cheapest(shape, ConvPass::weight_grad);
}

}  // namespace

double least_cost(const ConvShape& shape, ConvPass pass) {
  double cost = 0;
  find_cheapest(shape, pass, cost);
  return cost;
}

Family conv_family() {
  return {
      {"conv2d", make_forward},
      {"conv2d_fused", make_fused},
      {"conv2d_input_grad", make_input_grad},
      {"conv2d_weight_grad", make_weight_grad},
  };
}

}  // namespace coolnn
