#include <algorithm>

#include "isa.h"
#include "kernel.h"
#include "parallel.h"
#include "rounding.h"

namespace coolnn {
namespace {

constexpr int64_t GRAIN = 1 << 13;  // elements a chunk, a whole number of batches
constexpr int64_t BATCH = 1 << 10;  // random words made at a time, on the stack

// What the kept numbers are multiplied by, so that the expected value stays.
float keep_scale(double p) { return p < 1 ? float(1 / (1 - p)) : 0.0f; }

KernelPtr make_dropout(const Problem& p) {
  if (p.inputs[0].dtype != DType::f32 || p.inputs[1].dtype != DType::i64 || p.inputs[1].elements() != 2) return nullptr;
  const double probability = p.number("p");
  if (!(probability >= 0 && probability <= 1)) return nullptr;
  const uint64_t threshold = uint64_t(probability * 4294967296.0);
  const float scale = keep_scale(probability);
  const int64_t n = p.inputs[0].elements();
  const DropoutTable table = isa().dropout;
  return make_function_kernel("philox", [=](const Arguments& a) {
    const uint64_t* state = a.in<uint64_t>(1);
    parallel_range(n, GRAIN, [&](int64_t begin, int64_t end) {
      uint32_t words[BATCH];
      for (int64_t i = begin; i < end; i += BATCH) {
        const int64_t length = std::min(BATCH, end - i);
        table.philox(state[0], state[1], uint64_t(i / PHILOX_WORDS), ceil_div(length, PHILOX_WORDS), words);
        table.dropout(a.in(0) + i, words, threshold, scale, a.out(0) + i, a.out<uint8_t>(1) + i, length);
      }
    });
  });
}

KernelPtr make_dropout_grad(const Problem& p) {
  if (p.inputs[0].dtype != DType::f32 || p.inputs[1].dtype != DType::boolean) return nullptr;
  if (p.inputs[0].elements() != p.inputs[1].elements()) return nullptr;
  const float scale = keep_scale(p.number("p"));
  const int64_t n = p.inputs[0].elements();
  const auto function = isa().dropout.dropout_grad;
  return make_function_kernel("vector", [=](const Arguments& a) {
    parallel_range(n, 4 * GRAIN, [&](int64_t b, int64_t e) {
      function(a.in(0) + b, a.in<uint8_t>(1) + b, scale, a.out(0) + b, e - b);
    });
  });
}

}  // namespace

Family dropout_family() {
  return {
      {"dropout", make_dropout},
      {"dropout_grad", make_dropout_grad},
  };
}

}  // namespace coolnn
