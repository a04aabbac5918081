#include <algorithm>
#include <limits>

#include "broadcast.h"
#include "isa.h"
#include "kernel.h"
#include "parallel.h"

namespace coolnn {
namespace {

constexpr int64_t GRAIN = 1 << 15;       // elements a chunk: 128 KiB in and out, a few microseconds of work
constexpr int64_t GRAIN_SLOW = 1 << 13;  // the same time for functions that compute more than they move

bool all_float(const Problem& p) {
  for (const Spec& input : p.inputs)
    if (!input.present() || input.dtype != DType::f32) return false;
  return true;
}

bool same_shape(const Spec& a, const Spec& b) {
  return a.rank == b.rank && std::equal(a.shape, a.shape + (a.rank > 0 ? a.rank : 0), b.shape);
}

// --- one operand, and gradients -------------------------------------------------------------------------------------

ElementwiseParameters slope_parameters(const Problem& p) { return {float(p.number("negative_slope")), 0}; }
ElementwiseParameters clip_parameters(const Problem& p) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  return {float(p.number("min", -infinity)), float(p.number("max", infinity))};
}
ElementwiseParameters softplus_parameters(const Problem& p) {
  return {float(p.number("beta")), float(p.number("threshold"))};
}
ElementwiseParameters no_parameters(const Problem&) { return {}; }
using ParameterFunction = ElementwiseParameters (*)(const Problem&);

template <Unary F, ParameterFunction PARAMETERS = no_parameters, int64_t CHUNK = GRAIN>
KernelPtr make_unary(const Problem& p) {
  if (p.inputs.size() != 1 || !all_float(p)) return nullptr;
  const auto function = isa().elementwise.unary[int(F)];
  const ElementwiseParameters parameters = PARAMETERS(p);
  const int64_t n = p.inputs[0].elements();
  return make_function_kernel("vector", [=](const Arguments& a) {
    parallel_range(n, CHUNK, [&](int64_t b, int64_t e) { function(a.in(0) + b, a.out(0) + b, e - b, parameters); });
  });
}

template <Gradient F, ParameterFunction PARAMETERS = no_parameters, int64_t CHUNK = GRAIN>
KernelPtr make_gradient(const Problem& p) {
  if (p.inputs.size() != 2 || !all_float(p) || !same_shape(p.inputs[0], p.inputs[1])) return nullptr;
  const auto function = isa().elementwise.gradient[int(F)];
  const ElementwiseParameters parameters = PARAMETERS(p);
  const int64_t n = p.inputs[0].elements();
  return make_function_kernel("vector", [=](const Arguments& a) {
    parallel_range(n, CHUNK, [&](int64_t b, int64_t e) {
      function(a.in(0) + b, a.in(1) + b, a.out(0) + b, e - b, parameters);
    });
  });
}

// gelu has two forms; which one is an attribute.
template <class Make> KernelPtr choose_gelu(const Problem& p, Make exact, Make approximate) {
  const std::string form = p.text("approximate", "none");
  return form == "none" ? exact(p) : form == "tanh" ? approximate(p) : nullptr;
}
KernelPtr make_gelu(const Problem& p) {
  return choose_gelu(p, make_unary<Unary::gelu, no_parameters, GRAIN_SLOW>,
                     make_unary<Unary::gelu_tanh, no_parameters, GRAIN_SLOW>);
}
KernelPtr make_gelu_grad(const Problem& p) {
  return choose_gelu(p, make_gradient<Gradient::gelu_grad, no_parameters, GRAIN_SLOW>,
                     make_gradient<Gradient::gelu_tanh_grad, no_parameters, GRAIN_SLOW>);
}

// --- two and three operands -----------------------------------------------------------------------------------------

Rows rows_mode(const Broadcast& broadcast) {
  if (!broadcast.along(0)) return Rows::second;
  return broadcast.along(1) ? Rows::both : Rows::first;
}

template <class Element, class Function>
KernelPtr make_broadcast_kernel(const Problem& p, const Function (&functions)[int(Rows::count)]) {
  if (p.inputs.size() != 2 || !all_float(p)) return nullptr;
  const Broadcast broadcast(p.outputs[0], p.inputs);
  const Function function = functions[int(rows_mode(broadcast))];
  return make_function_kernel(
      "vector",
      [=](const Arguments& a) {
        broadcast.run(a, [&](const Broadcast::Block& block) {
          function(static_cast<const float*>(block.operand[0]), block.row_step[0],
                   static_cast<const float*>(block.operand[1]), block.row_step[1],
                   a.out<Element>(0) + block.output, block.rows, block.n);
        });
      },
      broadcast.workspace_bytes());
}

template <Binary F> KernelPtr make_binary(const Problem& p) {
  return make_broadcast_kernel<float>(p, isa().elementwise.binary[int(F)]);
}
template <Compare F> KernelPtr make_compare(const Problem& p) {
  return make_broadcast_kernel<uint8_t>(p, isa().elementwise.compare[int(F)]);
}

KernelPtr make_where(const Problem& p) {
  if (p.inputs.size() != 3 || p.inputs[0].dtype != DType::boolean || p.inputs[1].dtype != DType::f32 ||
      p.inputs[2].dtype != DType::f32)
    return nullptr;
  const Broadcast broadcast(p.outputs[0], p.inputs);
  const auto function = isa().elementwise.where[broadcast.along(0) + 2 * broadcast.along(1) + 4 * broadcast.along(2)];
  return make_function_kernel(
      "vector",
      [=](const Arguments& a) {
        broadcast.run(a, [&](const Broadcast::Block& block) {
          function(static_cast<const uint8_t*>(block.operand[0]), block.row_step[0],
                   static_cast<const float*>(block.operand[1]), block.row_step[1],
                   static_cast<const float*>(block.operand[2]), block.row_step[2], a.out(0) + block.output, block.rows,
                   block.n);
        });
      },
      broadcast.workspace_bytes());
}

// --- types ----------------------------------------------------------------------------------------------------------

KernelPtr make_cast(const Problem& p) {
  struct Pair {
    DType from, to;
    Cast cast;
  };
  static const Pair pairs[] = {
      {DType::f32, DType::u8, Cast::f32_to_u8},           {DType::u8, DType::f32, Cast::u8_to_f32},
      {DType::f32, DType::i32, Cast::f32_to_i32},         {DType::i32, DType::f32, Cast::i32_to_f32},
      {DType::f32, DType::i64, Cast::f32_to_i64},         {DType::i64, DType::f32, Cast::i64_to_f32},
      {DType::f32, DType::boolean, Cast::f32_to_boolean}, {DType::boolean, DType::f32, Cast::boolean_to_f32},
      {DType::f32, DType::f64, Cast::f32_to_f64},         {DType::f64, DType::f32, Cast::f64_to_f32},
  };
  for (const Pair& pair : pairs) {
    if (pair.from != p.inputs[0].dtype || pair.to != p.outputs[0].dtype) continue;
    const auto function = isa().elementwise.cast[int(pair.cast)];
    const int64_t n = p.inputs[0].elements(), from_bytes = int64_t(dtype_bytes(pair.from)),
                  to_bytes = int64_t(dtype_bytes(pair.to));
    return make_function_kernel("vector", [=](const Arguments& a) {
      parallel_range(n, GRAIN, [&](int64_t b, int64_t e) {
        function(a.in<char>(0) + b * from_bytes, a.out<char>(0) + b * to_bytes, e - b);
      });
    });
  }
  return nullptr;
}

}  // namespace

Family elementwise_family() {
  constexpr ParameterFunction none = no_parameters;
  return {
      {"neg", make_unary<Unary::neg>},
      {"abs", make_unary<Unary::abs>},
      {"exp", make_unary<Unary::exp, none, GRAIN_SLOW>},
      {"log", make_unary<Unary::log, none, GRAIN_SLOW>},
      {"sqrt", make_unary<Unary::sqrt>},
      {"rsqrt", make_unary<Unary::rsqrt>},
      {"sign", make_unary<Unary::sign>},
      {"floor", make_unary<Unary::floor>},
      {"square", make_unary<Unary::square>},
      {"reciprocal", make_unary<Unary::reciprocal>},
      {"erf", make_unary<Unary::erf, none, GRAIN_SLOW>},
      {"sin", make_unary<Unary::sin, none, GRAIN_SLOW>},
      {"cos", make_unary<Unary::cos, none, GRAIN_SLOW>},
      {"relu", make_unary<Unary::relu>},
      {"relu6", make_unary<Unary::relu6>},
      {"leaky_relu", make_unary<Unary::leaky_relu, slope_parameters>},
      {"clip", make_unary<Unary::clip, clip_parameters>},
      {"sigmoid", make_unary<Unary::sigmoid, none, GRAIN_SLOW>},
      {"tanh", make_unary<Unary::tanh, none, GRAIN_SLOW>},
      {"silu", make_unary<Unary::silu, none, GRAIN_SLOW>},
      {"hardswish", make_unary<Unary::hardswish>},
      {"softplus", make_unary<Unary::softplus, softplus_parameters, GRAIN_SLOW>},
      {"gelu", make_gelu},
      {"relu_grad", make_gradient<Gradient::relu_grad>},
      {"relu6_grad", make_gradient<Gradient::relu6_grad>},
      {"leaky_relu_grad", make_gradient<Gradient::leaky_relu_grad, slope_parameters>},
      {"clip_grad", make_gradient<Gradient::clip_grad, clip_parameters>},
      {"sigmoid_grad", make_gradient<Gradient::sigmoid_grad>},
      {"tanh_grad", make_gradient<Gradient::tanh_grad>},
      {"silu_grad", make_gradient<Gradient::silu_grad, none, GRAIN_SLOW>},
      {"hardswish_grad", make_gradient<Gradient::hardswish_grad>},
      {"softplus_grad", make_gradient<Gradient::softplus_grad, softplus_parameters, GRAIN_SLOW>},
      {"gelu_grad", make_gelu_grad},
      {"add", make_binary<Binary::add>},
      {"sub", make_binary<Binary::sub>},
      {"mul", make_binary<Binary::mul>},
      {"div", make_binary<Binary::div>},
      {"pow", make_binary<Binary::pow>},
      {"maximum", make_binary<Binary::maximum>},
      {"minimum", make_binary<Binary::minimum>},
      {"eq", make_compare<Compare::eq>},
      {"ne", make_compare<Compare::ne>},
      {"lt", make_compare<Compare::lt>},
      {"le", make_compare<Compare::le>},
      {"gt", make_compare<Compare::gt>},
      {"ge", make_compare<Compare::ge>},
      {"where", make_where},
      {"cast", make_cast},
  };
}

}  // namespace coolnn
