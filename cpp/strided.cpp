#include "strided.h"

#include <algorithm>

#include "isa.h"
#include "parallel.h"
#include "rounding.h"

namespace coolnn {
namespace {

constexpr int64_t GRAIN = 1 << 15;  // elements a chunk

// Joins neighbours that can be walked as one axis, slowest first.
void collapse(std::vector<CopyAxis>& axes) {
  std::vector<CopyAxis> joined;
  for (const CopyAxis& axis : axes) {
    if (!joined.empty()) {
      CopyAxis& last = joined.back();
      if (last.src == axis.src * axis.size && last.dst == axis.dst * axis.size) {
        last = {last.size * axis.size, axis.src, axis.dst};
        continue;
      }
    }
    joined.push_back(axis);
  }
  axes = std::move(joined);
}

}  // namespace

std::vector<int> storage_order(const Spec& spec) {
  if (spec.rank == 4) return {0, 2, 3, 1};
  std::vector<int> order;
  for (int i = 0; i < spec.rank; i++) order.push_back(i);
  return order;
}

StridedCopy::StridedCopy(std::vector<CopyAxis> axes, size_t element_bytes, int64_t src_offset, int64_t dst_offset)
    : element_bytes_(int64_t(element_bytes)), src_offset_(src_offset), dst_offset_(dst_offset) {
  for (const CopyAxis& axis : axes)
    if (axis.size == 0) return;
  axes.erase(std::remove_if(axes.begin(), axes.end(), [](const CopyAxis& a) { return a.size == 1; }), axes.end());
  std::stable_sort(axes.begin(), axes.end(), [](const CopyAxis& a, const CopyAxis& b) { return a.dst > b.dst; });
  collapse(axes);
  const MovementTable& table = isa().movement;
  copy_ = element_bytes == 1 ? table.copy1 : element_bytes == 4 ? table.copy4 : table.copy8;
  if (!axes.empty()) {
    inner_ = axes.back();
    axes.pop_back();
  }
  if (!axes.empty()) {
    // The rows are the next slower axis; or the one that is fastest in the source, which makes the pair a transpose.
    auto rows = axes.end() - 1;
    if (inner_.src != 1 && inner_.src != 0)
      for (auto axis = axes.begin(); axis != axes.end(); ++axis)
        if (axis->src == 1) rows = axis;
    rows_ = *rows;
    axes.erase(rows);
  }
  outer_ = std::move(axes);
  const bool transposed = rows_.src == 1 && inner_.src != 1;
  inner_block_ = std::min(inner_.size, transposed ? std::max<int64_t>(256, GRAIN / rows_.size) : GRAIN);
  row_block_ = std::min(rows_.size, items_within(GRAIN, inner_block_));
  if (transposed) row_block_ = std::min(rows_.size, ceil_div(row_block_, 16) * 16);
}

void StridedCopy::run(const void* src, void* dst) const {
  if (empty()) return;
  const int64_t row_blocks = ceil_div(rows_.size, row_block_), inner_blocks = ceil_div(inner_.size, inner_block_);
  int64_t outer = 1;
  for (const CopyAxis& axis : outer_) outer *= axis.size;
  const int64_t blocks = row_blocks * inner_blocks;
  // Small outer items are taken several at a time.
  const int64_t group = items_within(GRAIN, rows_.size * inner_.size);
  parallel_range(outer * blocks, group, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; item++) {
      int64_t index = item / blocks;
      const int64_t row = item % blocks / inner_blocks * row_block_, column = item % inner_blocks * inner_block_;
      int64_t from = src_offset_ + row * rows_.src + column * inner_.src;
      int64_t to = dst_offset_ + row * rows_.dst + column * inner_.dst;
      for (auto axis = outer_.rbegin(); axis != outer_.rend(); ++axis) {
        from += index % axis->size * axis->src;
        to += index % axis->size * axis->dst;
        index /= axis->size;
      }
      copy_(static_cast<const char*>(src) + from * element_bytes_, rows_.src, inner_.src,
            static_cast<char*>(dst) + to * element_bytes_, rows_.dst, inner_.dst,
            std::min(row_block_, rows_.size - row), std::min(inner_block_, inner_.size - column));
    }
  });
}

}  // namespace coolnn
