// The blocked, parallel matrix product under matmul, linear and the convolutions: operands are packed block by block
// into memory that stays in the caches, so they may come from anywhere (strided matrices, image patches).
#pragma once
#include "isa.h"
#include "kernel.h"

namespace coolnn {

struct GemmRange {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// Whether the summed axis may be cut, which needs C to be dense and row-major over (batch, m, n), without an epilogue.
enum class GemmSplit {
  never,
  if_needed,  // where C has too few blocks
  gladly,     // also where it has some: gathering narrow blocks of both operands would cost more
};

// How `batch` products C (m x n) = A (m x k) B (k x n) are cut into chunks. Depends on the sizes and the instruction
// set alone.
struct GemmPlan {
  int64_t batch, m, n, k;
  int64_t row_blocks, column_blocks;  // blocks of C, nearly equal
  int64_t splits;                     // parts of the summed axis, each with its own partial C
  int64_t steps;                      // parts of the summed axis (of a split), each packed at once
  int64_t items_per_chunk;            // products of the batch that share a chunk (more than 1 only if they are tiny)
  bool shares_b;                      // B is packed once for all row blocks; else each chunk packs what it needs
  const GemmTable* table;
  const Bf16Table* bf16;  // null: the operands are multiplied in float32; else B must be packed as a whole

  GemmPlan() = default;
  GemmPlan(int64_t batch, int64_t m, int64_t n, int64_t k, GemmSplit split, const Bf16Table* bf16 = nullptr);
  int64_t words(int64_t steps) const { return bf16 != nullptr ? (steps + 1) / 2 : steps; }  // of 32 bits, packed
  size_t workspace_bytes() const;
  size_t packed_bytes() const;  // of B as a whole

  GemmRange rows(int64_t block) const;
  GemmRange columns(int64_t block) const;
  GemmRange depth(int64_t split, int64_t step) const;

  // The packed B: every (item, column block) has its own part, in which the steps follow each other.
  int64_t block_columns() const;  // of the widest column block, whole tiles
  int64_t stripe_blocks() const;  // parts that are packed at once, to bound the memory
  int64_t stripe_steps() const;   // and steps of them
};

// Where the numbers come from and go to. Functions are called from several threads at once.
class GemmOperands {
 public:
  virtual PanelOrder a_order() const = 0;
  // Rows [row, row + rows) at steps [k, k + depth) of A; see GemmTable::pack_a.
  virtual void pack_a(int64_t item, int64_t row, int64_t rows, int64_t k, int64_t depth, int64_t panels,
                      float* to) const = 0;
  // Where the row of A begins at step k, if its steps lie side by side, and how far it is to the next row; else null.
  virtual const float* lying_row(int64_t, int64_t, int64_t, int64_t*) const { return nullptr; }
  // Where rows of A lie as a whole, if they do so without gaps; else null. They are asked for before they are packed.
  virtual const float* dense_rows(int64_t, int64_t) const { return nullptr; }
  // Columns [column, column + columns) at steps [k, k + depth) of B; see GemmTable::pack_b.
  virtual void pack_b(int64_t item, int64_t column, int64_t columns, int64_t k, int64_t depth, float* to) const = 0;
  // The first number of an item's C, whose columns are contiguous, and where its rows [row, row + rows) begin.
  virtual float* output(int64_t item) const = 0;
  virtual void output_rows(int64_t item, int64_t row, int64_t rows, int64_t* offsets) const = 0;
  virtual GemmEpilogue epilogue(int64_t item) const = 0;

 protected:
  ~GemmOperands() = default;
};

// `packed_b` is what pack_b below made, or null: then B is packed on the way.
void multiply(const GemmPlan& plan, const GemmOperands& operands, void* workspace, const float* packed_b = nullptr);
// Packs B as a whole, for many products with it; plan.packed_bytes() of memory.
void pack_b(const GemmPlan& plan, const GemmOperands& operands, float* packed);

// Memory of the calling thread, aligned to 64 bytes, kept until the thread ends; a later call may move it.
float* thread_scratch(size_t floats);

}  // namespace coolnn
