// Fused multiply-adds without memory: the peak that shares of it refer to.
#include "kernels/probe.h"

#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {

constexpr int CHAINS = REGISTERS - 4;  // enough to hide the latency, few enough to stay in registers

static float fma_chains(int64_t rounds) {
  vf sum[CHAINS];
  vf scale = broadcast(0.5f), shift = broadcast(0.25f);
#pragma GCC unroll 32
  for (int i = 0; i < CHAINS; i++) sum[i] = broadcast(float(i));
  for (int64_t round = 0; round < rounds; round++) {
#pragma GCC unroll 32
    for (int i = 0; i < CHAINS; i++) sum[i] = fma(sum[i], scale, shift);
  }
  vf total = zero();
#pragma GCC unroll 32
  for (int i = 0; i < CHAINS; i++) total = total + sum[i];
  float result = 0;
  for (int i = 0; i < VL; i++) result += total[i];
  return result;
}

extern const ProbeTable probe_table;
const ProbeTable probe_table = {fma_chains, int64_t(2) * CHAINS * VL};

}  // namespace COOLNN_ISA
}  // namespace coolnn
