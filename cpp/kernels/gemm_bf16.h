// Matrix products of bfloat16 numbers (float32's first 16 bits, rounded to the nearest even) whose products are exact and
// summed in float32. Two steps of the depth make one word, so that blocks lie as those of float32 do, half as deep; an odd
// depth is filled up with zero. Numbers below the least normal one count as zero, as the processor has it.
#pragma once
#include <stdint.h>

#include "kernels/gemm.h"

namespace coolnn {

// C = A B for few rows, from operands that are rounded and packed: rows of A of `words` words each, and groups of
// Bf16Table::narrow_columns(rows) columns of B, each [vector of words][column][word].
struct NarrowBf16Product {
  const uint32_t* a;
  int64_t rows, words;  // whole vectors of words
  const uint32_t* b;
  int64_t columns;
  float* c;
  int64_t c_row;
  GemmEpilogue epilogue;  // from the first column on
};

struct Bf16Table {
  int vector_words;
  // Rounds rows of `depth` numbers, `row_stride` floats apart, to words that lie as A does in PanelOrder::rows: each row in
  // GEMM_ROW_STRIDE words, whole vectors of them. May work in place.
  void (*round_rows)(const float* from, int64_t row_stride, int64_t rows, int64_t depth, uint32_t* to);
  // The same without gaps: each row in (depth + 1) / 2 words, filled up to whole vectors with zeros.
  void (*round_dense)(const float* from, int64_t row_stride, int64_t rows, int64_t depth, uint32_t* to);
  // Rounds what GemmTable::pack_b wrote of some panels, each `depth` steps.
  void (*round_panels)(const float* from, int64_t panels, int64_t depth, uint32_t* to);
  // As GemmTable::multiply, with words for floats in A (PanelOrder::rows) and B, and the depth in words.
  void (*multiply)(const GemmBlock& block);

  int (*narrow_columns)(int64_t rows);
  void (*pack_narrow)(const float* from, int64_t column_stride, int64_t columns, int64_t depth, int64_t rows, uint32_t* to);
  void (*multiply_narrow)(const NarrowBf16Product& product);
};

}  // namespace coolnn
