// The blocked, parallel matrix product under matmul, linear and the convolutions: operands are packed block by block
// into per-thread memory that stays in the cache, so they may come from anywhere (strided matrices, image patches).
#pragma once
#include "isa.h"
#include "kernel.h"

namespace coolnn {

// How `batch` products C (m x n) = A (m x k) B (k x n) are cut into chunks. Depends on the sizes and the instruction
// set alone.
struct GemmPlan {
  int64_t batch, m, n, k;
  int64_t row_blocks, column_blocks;  // blocks of C, nearly equal
  int64_t splits;                     // parts of the summed axis, each with its own partial C
  int64_t items_per_chunk;            // products of the batch that share a chunk (more than 1 only if they are tiny)
  const GemmTable* table;

  GemmPlan() = default;
  // Splitting the summed axis needs C to be dense and row-major over (batch, m, n).
  GemmPlan(int64_t batch, int64_t m, int64_t n, int64_t k, bool may_split);
  size_t workspace_bytes() const;
  int64_t macs() const { return batch * m * n * k; }
};

// Where the numbers come from and go to. Functions are called from several threads at once.
class GemmOperands {
 public:
  virtual PanelOrder a_order() const = 0;
  // Rows [row, row + rows) at steps [k, k + depth) of A; see GemmTable::pack_a.
  virtual void pack_a(int64_t item, int64_t row, int64_t rows, int64_t k, int64_t depth, int64_t height,
                      float* to) const = 0;
  // Columns [column, column + columns) at steps [k, k + depth) of B; see GemmTable::pack_b.
  virtual void pack_b(int64_t item, int64_t column, int64_t columns, int64_t k, int64_t depth, float* to) const = 0;
  // The first number of an item's C, whose columns are contiguous, and where its rows [row, row + rows) begin.
  virtual float* output(int64_t item) const = 0;
  virtual void output_rows(int64_t item, int64_t row, int64_t rows, int64_t* offsets) const = 0;
  virtual const float* bias(int64_t item) const = 0;  // one number a column, or null

 protected:
  ~GemmOperands() = default;
};

void multiply(const GemmPlan& plan, const GemmOperands& operands, void* workspace);

// Memory of the calling thread, aligned to 64 bytes, kept until the thread ends; a later call may move it.
float* thread_scratch(size_t floats);

}  // namespace coolnn
