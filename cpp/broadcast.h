// Broadcasting: walks an output together with operands of fewer or shorter axes, as blocks of rows.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernel.h"
#include "parallel.h"
#include "rounding.h"
#include "strided.h"

namespace coolnn {

class Broadcast {
 public:
  static constexpr int MAX_OPERANDS = 3;

  // What a kernel gets: for each operand where the block begins and how far apart its rows are; the output is dense.
  struct Block {
    const void* operand[MAX_OPERANDS];
    int64_t row_step[MAX_OPERANDS];
    int64_t output;  // element of the output where the block begins
    int64_t rows, n;
  };

  // Operands must broadcast to the output by NumPy's rules.
  Broadcast(const Spec& output, const std::vector<Spec>& operands);

  // Whether an operand moves along with the output inside a row; if not, it is one number for the whole row.
  bool along(int operand) const { return inner_step_[operand] == 1; }
  size_t workspace_bytes() const { return workspace_bytes_; }

  // Calls f(block) for blocks that together are the whole output, on all threads.
  template <class F> void run(const Arguments& a, F f) const {
    if (n_ == 0) return;
    const void* base[MAX_OPERANDS];
    for (int k = 0; k < operands_; k++) base[k] = prepared_operand(a, k);
    const int64_t row_blocks = ceil_div(rows_, row_block_);
    const int64_t column_blocks = ceil_div(n_, column_block_);
    const int64_t blocks = row_blocks * column_blocks;
    const int64_t group = items_within(GRAIN, rows_ * n_);
    parallel_range(outer_ * blocks, group, [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; item++) {
        const int64_t outer = item / blocks, row = item % blocks / column_blocks * row_block_;
        const int64_t column = item % column_blocks * column_block_;
        Block block;
        block.rows = std::min(row_block_, rows_ - row);
        block.n = std::min(column_block_, n_ - column);
        block.output = (outer * rows_ + row) * n_ + column;
        place(block, base, outer, row, column);
        f(block);
      }
    });
    if (tail_ > 0) {
      Block block;
      block.rows = 1, block.n = tail_, block.output = rows_ * n_;
      place(block, base, 0, rows_, 0);
      f(block);
    }
  }

 private:
  static constexpr int64_t GRAIN = 1 << 15;  // elements a chunk

  struct Axis {
    int64_t size;
    int64_t step[MAX_OPERANDS];
  };

  void arrange(int operand, std::vector<Axis>& axes);
  void collapse(std::vector<Axis>& axes) const;
  bool repeat_short_rows(std::vector<Axis>& axes);
  const void* prepared_operand(const Arguments& a, int operand) const;
  void place(Block& block, const void* const* base, int64_t outer, int64_t row, int64_t column) const;

  int operands_ = 0;
  int64_t outer_ = 1, rows_ = 1, n_ = 1, tail_ = 0;
  int64_t row_block_ = 1, column_block_ = 1;
  std::vector<Axis> outer_axes_;
  int64_t element_bytes_[MAX_OPERANDS], row_step_[MAX_OPERANDS], inner_step_[MAX_OPERANDS];
  // Operands that are rearranged first: how, and where in the workspace (-1: used as they are).
  StridedCopy copy_[MAX_OPERANDS];
  int64_t copy_offset_[MAX_OPERANDS];
  size_t workspace_bytes_ = 0;
};

}  // namespace coolnn
