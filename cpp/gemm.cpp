#include "gemm.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#include "parallel.h"

namespace coolnn {
namespace {

constexpr int64_t COLUMN_GROUP = 4;              // panels of B that are packed at once
constexpr int64_t MOST_COLUMNS = 512;            // of a block of C, which then stays in the second-level cache
constexpr int64_t CHUNKS_WANTED = 20;            // enough for the threads of an ordinary processor
constexpr int64_t LEAST_WORK = 1 << 17;          // multiply-adds that are worth a chunk of their own: a few microseconds
constexpr int64_t LEAST_SPLIT_WORK = 1 << 20;    // and a partial sum
constexpr size_t MOST_PARTIALS = size_t(16) << 20;  // bytes

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Most rows of a block: packed, they fill a part of the second-level cache and outweigh the packing of B.
int64_t most_rows(const GemmTable& table) { return table.tile_rows * (table.tile_rows > 8 ? 16 : 24); }

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// Part i of n nearly equal parts of `total`, cut at multiples of `unit`.
Range part(int64_t i, int64_t n, int64_t total, int64_t unit) {
  const int64_t units = divide_up(total, unit);
  return {std::min(total, units * i / n * unit), std::min(total, units * (i + 1) / n * unit)};
}

}  // namespace

GemmPlan::GemmPlan(int64_t batch_, int64_t m_, int64_t n_, int64_t k_, bool may_split)
    : batch(batch_), m(m_), n(n_), k(k_), splits(1), items_per_chunk(1), table(&isa().gemm) {
  const int64_t item_work = std::max<int64_t>(m * n * k, 1), work = item_work * std::max<int64_t>(batch, 1);
  row_blocks = std::max<int64_t>(1, divide_up(m, most_rows(*table)));
  column_blocks = std::max<int64_t>(1, divide_up(n, MOST_COLUMNS));
  // Parts of a long sum repeat no packing.
  const int64_t blocks = std::max<int64_t>(batch * row_blocks * column_blocks, 1);
  if (may_split && blocks < CHUNKS_WANTED) {
    const int64_t by_depth = k / (2 * GEMM_DEPTH), by_work = work / blocks / LEAST_SPLIT_WORK;
    const int64_t by_memory = int64_t(MOST_PARTIALS / sizeof(float)) / std::max<int64_t>(batch * m * n, 1);
    splits = std::max<int64_t>(1, std::min({divide_up(CHUNKS_WANTED, blocks), by_depth, by_work, by_memory}));
  }
  const int64_t row_limit = divide_up(m, 2 * table->tile_rows), column_limit = divide_up(n, table->tile_columns);
  while (batch * row_blocks * column_blocks * splits < CHUNKS_WANTED) {
    if (item_work / (row_blocks * column_blocks * splits) < 2 * LEAST_WORK) break;
    // Cut the side whose blocks are longer: that repeats the least packing.
    const bool rows_can = row_blocks * 2 <= row_limit, columns_can = column_blocks * 2 <= column_limit;
    if (!rows_can && !columns_can) break;
    const bool rows = rows_can && (!columns_can || m / row_blocks > n / column_blocks);
    (rows ? row_blocks : column_blocks) *= 2;
  }
  if (item_work < LEAST_WORK) items_per_chunk = std::max<int64_t>(1, LEAST_WORK / item_work);
}

size_t GemmPlan::workspace_bytes() const {
  return splits > 1 ? size_t(splits * batch * m * n) * sizeof(float) : 0;
}

namespace {

// One block of C of one item over one part of the summed axis.
void multiply_block(const GemmPlan& plan, const GemmOperands& operands, int64_t item, Range rows, Range columns,
                    Range depth, float* partial) {
  const GemmTable& table = *plan.table;
  const int64_t panels = divide_up(rows.size(), table.tile_rows);
  const int64_t height = divide_up(rows.size(), panels);
  const int64_t steps = std::max<int64_t>(1, divide_up(depth.size(), GEMM_DEPTH));
  const int64_t group = COLUMN_GROUP * table.tile_columns;

  const int64_t a_floats = panels * table.tile_rows * GEMM_ROW_STRIDE;
  float* a = thread_scratch(size_t(a_floats + group * GEMM_DEPTH) + size_t(rows.size() * 2));
  float* b = a + a_floats;
  int64_t* offsets = reinterpret_cast<int64_t*>(b + group * GEMM_DEPTH);
  if (partial == nullptr) operands.output_rows(item, rows.begin, rows.size(), offsets);
  else
    for (int64_t r = 0; r < rows.size(); r++) offsets[r] = (rows.begin + r) * plan.n;
  float* output = partial == nullptr ? operands.output(item) : partial;
  const float* bias = depth.begin == 0 ? operands.bias(item) : nullptr;

  for (int64_t step = 0; step < steps; step++) {
    const Range k = part(step, steps, depth.size(), 16);
    operands.pack_a(item, rows.begin, rows.size(), depth.begin + k.begin, k.size(), height, a);
    for (int64_t column = columns.begin; column < columns.end; column += group) {
      const int64_t width = std::min(group, columns.end - column);
      operands.pack_b(item, column, width, depth.begin + k.begin, k.size(), b);
      table.multiply({a, operands.a_order(), height, b, rows.size(), width, k.size(), output + column, offsets,
                      bias != nullptr ? bias + column : nullptr, step > 0});
    }
  }
}

}  // namespace

void multiply(const GemmPlan& plan, const GemmOperands& operands, void* workspace) {
  const int64_t size = plan.m * plan.n, total = plan.batch * size;
  if (total == 0) return;
  float* partials = plan.splits > 1 ? static_cast<float*>(workspace) : nullptr;
  const int64_t groups = divide_up(plan.batch, plan.items_per_chunk);
  // Row blocks run fastest, so that threads share the columns of B that they are working on.
  parallel_for(groups * plan.column_blocks * plan.splits * plan.row_blocks, [&](int64_t chunk, int) {
    const int64_t row_block = chunk % plan.row_blocks, rest = chunk / plan.row_blocks;
    const int64_t split = rest % plan.splits, column_block = rest / plan.splits % plan.column_blocks;
    const int64_t first = rest / plan.splits / plan.column_blocks * plan.items_per_chunk;
    const Range rows = part(row_block, plan.row_blocks, plan.m, 1);
    const Range columns = part(column_block, plan.column_blocks, plan.n, plan.table->tile_columns);
    const Range depth = part(split, plan.splits, plan.k, 16);
    if (rows.size() == 0 || columns.size() == 0) return;
    for (int64_t item = first; item < std::min(first + plan.items_per_chunk, plan.batch); item++)
      multiply_block(plan, operands, item, rows, columns, depth,
                     partials == nullptr ? nullptr : partials + split * total + item * size);
  });
  if (partials == nullptr) return;
  constexpr int64_t GRAIN = 1 << 13;
  parallel_for(divide_up(total, GRAIN), [&](int64_t chunk, int) {
    const int64_t begin = chunk * GRAIN, count = std::min(GRAIN, total - begin);
    plan.table->sum_partials(partials + begin, total, plan.splits, operands.output(0) + begin, count);
  });
}

float* thread_scratch(size_t floats) {
  struct Scratch {
    float* data = nullptr;
    size_t floats = 0;
    ~Scratch() { std::free(data); }
  };
  static thread_local Scratch scratch;
  if (scratch.floats < floats) {
    std::free(scratch.data);
    scratch.data = nullptr;
    scratch.floats = 0;
    const size_t bytes = (floats * sizeof(float) + 63) / 64 * 64;
    scratch.data = static_cast<float*>(std::aligned_alloc(64, bytes));  // not the pool's: it is no tensor's memory
    if (scratch.data == nullptr) throw std::bad_alloc();
    scratch.floats = floats;
  }
  return scratch.data;
}

}  // namespace coolnn
