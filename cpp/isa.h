// The functions that are compiled once per instruction set, as one table each; dispatch.cpp picks the table at import.
// Everything around them (chunks, threads, choice of algorithm) is compiled once, for the oldest processor.
#pragma once
#include <string>
#include <vector>

#include "kernels/conv.h"
#include "kernels/dropout.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/gemm_bf16.h"
#include "kernels/movement.h"
#include "kernels/normalization.h"
#include "kernels/optimizer.h"
#include "kernels/pool.h"
#include "kernels/probe.h"
#include "kernels/reduce.h"
#include "kernels/resample.h"
#include "kernels/softmax.h"
#include "kernels/winograd.h"

namespace coolnn {

struct IsaTable {
  const char* name;
  int vector_floats;
  const ElementwiseTable& elementwise;
  const ReduceTable& reduce;
  const MovementTable& movement;
  const GemmTable& gemm;
  const ConvTable& conv;
  const WinogradTable& winograd;
  const PoolTable& pool;
  const ResampleTable& resample;
  const NormalizationTable& normalization;
  const SoftmaxTable& softmax;
  const DropoutTable& dropout;
  const OptimizerTable& optimizer;
  const ProbeTable& probe;
};

const IsaTable& isa();                     // the table in use
const Bf16Table* bf16();                    // what this processor has beside that table for bfloat16; null if nothing
void set_isa(const std::string& name);     // throws std::invalid_argument if this machine has no such table
std::vector<std::string> available_isas();  // slowest first

}  // namespace coolnn
