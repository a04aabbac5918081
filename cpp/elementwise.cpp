#include "isa.h"
#include "kernel.h"
#include "parallel.h"

namespace coolnn {
namespace {

constexpr int64_t GRAIN = 1 << 15;  // elements a chunk: 128 KiB in and out, a few microseconds of work

KernelPtr make_relu(const Problem& p) {
  const auto relu = isa().elementwise.relu;
  const int64_t n = p.inputs[0].elements();
  return make_function_kernel("vector", [=](const Arguments& a) {
    parallel_range(n, GRAIN, [&](int64_t b, int64_t e) { relu(a.in(0) + b, a.out(0) + b, e - b); });
  });
}

}  // namespace

Family elementwise_family() {
  return {
      {"relu", make_relu},
  };
}

}  // namespace coolnn
