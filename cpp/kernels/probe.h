// What the machine can do at most.
#pragma once
#include <cstdint>

namespace coolnn {

struct ProbeTable {
  // Runs independent chains of fused multiply-adds and gives a number that depends on all of them.
  float (*fma_chains)(int64_t rounds);
  int64_t flops_a_round;
};

}  // namespace coolnn
