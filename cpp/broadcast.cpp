#include "broadcast.h"
#include "rounding.h"

namespace coolnn {
namespace {

constexpr int64_t SHORT_ROW = 64;     // rows below this are joined where that is possible
constexpr int64_t JOINED_ROW = 1024;  // to about this length

}  // namespace

Broadcast::Broadcast(const Spec& output, const std::vector<Spec>& operands) : operands_(int(operands.size())) {
  std::vector<Axis> axes;
  for (const int i : storage_order(output)) {
    if (output.shape[i] == 1) continue;
    Axis axis{output.shape[i], {}};
    for (int k = 0; k < operands_; k++) {
      const int own = i - (output.rank - operands[size_t(k)].rank);
      if (own >= 0 && operands[size_t(k)].shape[own] != 1) axis.step[k] = operands[size_t(k)].stride[own];
    }
    axes.push_back(axis);
  }
  if (output.elements() == 0) n_ = 0;
  for (int k = 0; k < operands_; k++) {
    element_bytes_[k] = int64_t(dtype_bytes(operands[size_t(k)].dtype));
    copy_offset_[k] = -1;
    row_step_[k] = 0;
    inner_step_[k] = 1;
    if (n_ > 0 && !axes.empty() && axes.back().step[k] > 1) arrange(k, axes);
  }
  if (n_ == 0 || axes.empty()) return;
  collapse(axes);
  if (!repeat_short_rows(axes)) {
    n_ = axes.back().size;
    for (int k = 0; k < operands_; k++) inner_step_[k] = axes.back().step[k];
    axes.pop_back();
    if (!axes.empty()) {
      rows_ = axes.back().size;
      for (int k = 0; k < operands_; k++) row_step_[k] = axes.back().step[k];
      axes.pop_back();
    }
    outer_axes_ = std::move(axes);
    for (const Axis& axis : outer_axes_) outer_ *= axis.size;
  }
  column_block_ = std::min(n_, GRAIN);
  row_block_ = std::min(rows_, items_within(GRAIN, column_block_));
}

// Plans a copy of an operand, without its repeats, in the order of the output's memory.
void Broadcast::arrange(int operand, std::vector<Axis>& axes) {
  std::vector<CopyAxis> copy;
  int64_t elements = 1;
  for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
    if (axis->step[operand] == 0) continue;
    copy.push_back({axis->size, axis->step[operand], elements});
    axis->step[operand] = elements;
    elements *= axis->size;
  }
  copy_[operand] = StridedCopy(std::move(copy), size_t(element_bytes_[operand]));
  copy_offset_[operand] = int64_t(workspace_bytes_);
  workspace_bytes_ += size_t(round_up(elements * element_bytes_[operand], 64));
}

void Broadcast::collapse(std::vector<Axis>& axes) const {
  std::vector<Axis> joined;
  for (const Axis& axis : axes) {
    bool joins = !joined.empty();
    for (int k = 0; joins && k < operands_; k++) joins = joined.back().step[k] == axis.step[k] * axis.size;
    if (joins) {
      const int64_t slower = joined.back().size;
      joined.back() = axis;
      joined.back().size *= slower;
    } else {
      joined.push_back(axis);
    }
  }
  axes = std::move(joined);
}

// Many short rows with operands that are the same for all rows (three channels with one number each, say): those are
// written out for several rows at once, and the rows become long. The last row may then be shorter than the others.
bool Broadcast::repeat_short_rows(std::vector<Axis>& axes) {
  if (axes.size() != 2 || axes[1].size >= SHORT_ROW || axes[0].size < 2) return false;
  const int64_t rows = axes[0].size, n = axes[1].size;
  const int64_t together = std::min(rows, items_within(JOINED_ROW, n));
  for (int k = 0; k < operands_; k++) {
    const int64_t row = axes[0].step[k], inner = axes[1].step[k];
    const bool dense = row == n && inner == 1, repeated = row == 0 && inner == 1, scalar = row == 0 && inner == 0;
    if ((!dense && !repeated && !scalar) || (repeated && copy_offset_[k] >= 0)) return false;
  }
  n_ = n * together;
  rows_ = rows / together;
  tail_ = rows % together * n;
  for (int k = 0; k < operands_; k++) {
    inner_step_[k] = axes[1].step[k];
    row_step_[k] = axes[0].step[k] * together;
    if (axes[0].step[k] != 0 || inner_step_[k] == 0) continue;
    copy_[k] = StridedCopy({{together, 0, n}, {n, 1, 1}}, size_t(element_bytes_[k]));
    copy_offset_[k] = int64_t(workspace_bytes_);
    workspace_bytes_ += size_t(round_up(n_ * element_bytes_[k], 64));
  }
  return true;
}

const void* Broadcast::prepared_operand(const Arguments& a, int operand) const {
  if (copy_offset_[operand] < 0) return a.inputs[operand];
  void* arranged = static_cast<char*>(a.workspace) + copy_offset_[operand];
  copy_[operand].run(a.inputs[operand], arranged);
  return arranged;
}

void Broadcast::place(Block& block, const void* const* base, int64_t outer, int64_t row, int64_t column) const {
  int64_t at[MAX_OPERANDS];
  for (int k = 0; k < operands_; k++) at[k] = row * row_step_[k] + column * inner_step_[k];
  for (auto axis = outer_axes_.rbegin(); axis != outer_axes_.rend(); ++axis) {
    for (int k = 0; k < operands_; k++) at[k] += outer % axis->size * axis->step[k];
    outer /= axis->size;
  }
  for (int k = 0; k < operands_; k++) {
    block.operand[k] = static_cast<const char*>(base[k]) + at[k] * element_bytes_[k];
    block.row_step[k] = row_step_[k];
  }
}

}  // namespace coolnn
