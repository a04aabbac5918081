#include "gemm.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#include "parallel.h"
#include "rounding.h"

namespace coolnn {
namespace {

constexpr int64_t COLUMN_GROUP = 4;              // panels of B that a chunk packs at once
constexpr int64_t MOST_ROWS = 112;               // of a block: packed, they fill a part of the second-level cache
constexpr int64_t MOST_COLUMNS = 2048;           // of a block
constexpr int64_t LEAST_COLUMN_PANELS = 8;       // of a block that is not the only one: each packs its A anew
constexpr int64_t PACKED_PANELS = 8;             // that make a chunk of packing B for all
constexpr int64_t LEAST_ROW_PANELS = 2;          // of a block where B is large
constexpr int64_t SMALL_PACKED = 1 << 17;        // floats of B that stay in the second-level cache
constexpr int64_t CHUNKS_WANTED = 40;            // so that threads wait little for the last one
constexpr int64_t LEAST_WORK = 1 << 17;          // multiply-adds that are worth a chunk of their own: a few microseconds
constexpr int64_t SPLIT_CHUNKS = 20;             // wanted of a sum that is split: each has its own partial C
constexpr int64_t LEAST_SPLIT_WORK = 1 << 20;    // and a partial sum
constexpr size_t MOST_PARTIALS = size_t(16) << 20;  // bytes
constexpr int64_t MOST_PACKED = int64_t(2) << 20;   // floats of B that are packed at once: a part of the last-level cache

int64_t at_least_one(int64_t n) { return std::max<int64_t>(1, n); }

// Part i of n nearly equal parts of `total`, cut at multiples of `unit`.
GemmRange part(int64_t i, int64_t n, int64_t total, int64_t unit) {
  const int64_t units = ceil_div(total, unit);
  return {std::min(total, units * i / n * unit), std::min(total, units * (i + 1) / n * unit)};
}

}  // namespace

GemmPlan::GemmPlan(int64_t batch_, int64_t m_, int64_t n_, int64_t k_, GemmSplit split, const Bf16Table* bf16_)
    : batch(batch_), m(m_), n(n_), k(k_), splits(1), items_per_chunk(1), table(&isa().gemm), bf16(bf16_) {
  const int64_t item_work = at_least_one(m * n * k), work = item_work * at_least_one(batch);
  const int64_t row_panels = ceil_div(m, table->tile_rows), column_panels = ceil_div(n, table->tile_columns);
  row_blocks = at_least_one(ceil_div(m, MOST_ROWS));
  column_blocks = at_least_one(ceil_div(n, MOST_COLUMNS));
  // Each row block reads the packed B anew: from the second-level cache as long as it is small.
  const int64_t least_panels = n * std::min<int64_t>(k, GEMM_DEPTH) <= SMALL_PACKED ? 1 : LEAST_ROW_PANELS;
  const int64_t most_row_blocks = std::max(row_blocks, row_panels / least_panels);
  const int64_t most_column_blocks = std::max(column_blocks, column_panels / LEAST_COLUMN_PANELS);
  // Blocks that each item should have, and can have.
  const int64_t wanted = ceil_div(std::min(CHUNKS_WANTED, at_least_one(work / LEAST_WORK)), at_least_one(batch));
  const int64_t blocks = at_least_one(batch * row_blocks * column_blocks);
  if (split == GemmSplit::gladly ? blocks < SPLIT_CHUNKS
                                 : split == GemmSplit::if_needed && 4 * most_row_blocks * most_column_blocks < wanted) {
    const int64_t by_depth = k / (GEMM_DEPTH / 2), by_work = work / blocks / LEAST_SPLIT_WORK;
    const int64_t by_memory = int64_t(MOST_PARTIALS / sizeof(float)) / at_least_one(batch * m * n);
    splits = at_least_one(std::min({ceil_div(SPLIT_CHUNKS, blocks), by_depth, by_work, by_memory}));
  }
  if (splits == 1) {
    // With few rows only columns are cut: then nobody packs the same part of B.
    if (row_blocks > 1 || most_column_blocks < wanted)
      row_blocks = std::clamp(ceil_div(wanted, column_blocks), row_blocks, most_row_blocks);
    if (row_blocks * column_blocks * 2 <= wanted)
      column_blocks = std::clamp(ceil_div(wanted, row_blocks), column_blocks, most_column_blocks);
  }
  shares_b = splits == 1 && row_blocks > 1;
  steps = at_least_one(ceil_div(ceil_div(k, 16 * splits) * 16, GEMM_DEPTH));
  if (item_work < LEAST_WORK) items_per_chunk = at_least_one(LEAST_WORK / item_work);
}

GemmRange GemmPlan::rows(int64_t block) const { return part(block, row_blocks, m, 1); }
GemmRange GemmPlan::columns(int64_t block) const { return part(block, column_blocks, n, table->tile_columns); }
GemmRange GemmPlan::depth(int64_t split, int64_t step) const {
  const GemmRange all = part(split, splits, k, 16), own = part(step, steps, all.size(), 16);
  return {all.begin + own.begin, all.begin + own.end};
}

int64_t GemmPlan::block_columns() const {
  return ceil_div(ceil_div(n, table->tile_columns), column_blocks) * table->tile_columns;
}
int64_t GemmPlan::stripe_blocks() const {
  const int64_t step_floats = at_least_one(block_columns() * std::min<int64_t>(k, GEMM_DEPTH));
  return std::clamp(MOST_PACKED / step_floats, int64_t(1), at_least_one(batch * column_blocks));
}
int64_t GemmPlan::stripe_steps() const {
  const int64_t step_floats = at_least_one(stripe_blocks() * block_columns() * GEMM_DEPTH);
  return std::clamp(MOST_PACKED / step_floats, int64_t(1), steps);
}

size_t GemmPlan::packed_bytes() const {
  return size_t(batch * column_blocks * block_columns() * words(k)) * sizeof(float);
}
size_t GemmPlan::workspace_bytes() const {
  if (splits > 1) return size_t(splits * batch * m * n) * sizeof(float);
  const int64_t depth = stripe_steps() == steps ? k : stripe_steps() * GEMM_DEPTH;
  return shares_b ? size_t(stripe_blocks() * block_columns() * depth) * sizeof(float) : 0;
}

namespace {

// Some parts of B, packed, over some steps.
struct Stripe {
  GemmRange blocks;  // (item, column block), items slowest
  GemmRange steps;
  int64_t first_k, depth;

  Stripe(const GemmPlan& plan, GemmRange blocks_, GemmRange steps_) : blocks(blocks_), steps(steps_) {
    first_k = plan.depth(0, steps.begin).begin;
    depth = plan.depth(0, steps.end - 1).end - first_k;
  }
  // Where the step k of a block begins, in words.
  int64_t offset(const GemmPlan& plan, int64_t block, int64_t k) const {
    const int64_t width = ceil_div(plan.columns(block % plan.column_blocks).size(), plan.table->tile_columns);
    return (block - blocks.begin) * plan.block_columns() * plan.words(depth) +
           plan.words(k - first_k) * width * plan.table->tile_columns;
  }
};

void pack_stripe(const GemmPlan& plan, const GemmOperands& operands, const Stripe& stripe, float* to) {
  const int64_t group = PACKED_PANELS * plan.table->tile_columns;
  const int64_t groups = ceil_div(plan.block_columns(), group);
  parallel_for(stripe.blocks.size() * stripe.steps.size() * groups, [&](int64_t chunk, int) {
    const int64_t block = stripe.blocks.begin + chunk / groups % stripe.blocks.size();
    const GemmRange k = plan.depth(0, stripe.steps.begin + chunk / groups / stripe.blocks.size());
    const GemmRange columns = plan.columns(block % plan.column_blocks);
    const int64_t column = columns.begin + chunk % groups * group, width = std::min(group, columns.end - column);
    if (width <= 0 || k.size() == 0) return;
    const int64_t item = block / plan.column_blocks;
    float* const target = to + stripe.offset(plan, block, k.begin) + (column - columns.begin) * plan.words(k.size());
    if (plan.bf16 == nullptr) return operands.pack_b(item, column, width, k.begin, k.size(), target);
    float* const floats = thread_scratch(size_t(group * k.size()));
    operands.pack_b(item, column, width, k.begin, k.size(), floats);
    plan.bf16->round_panels(floats, ceil_div(width, plan.table->tile_columns), k.size(), reinterpret_cast<uint32_t*>(target));
  });
}

// One block of C of one item. `partial`, if given, takes the place of C for one part of the summed axis; `packed`, if
// given, holds B for some of the steps.
struct BlockProduct {
  const GemmPlan& plan;
  const GemmOperands& operands;
  int64_t item;
  GemmRange rows, columns;
  int64_t panels;  // of rows
  float *a, *b;    // packed
  int64_t* offsets;
  float* output;
  GemmEpilogue epilogue;
  const float* ahead = nullptr;
  int64_t ahead_floats = 0;

  BlockProduct(const GemmPlan& plan_, const GemmOperands& operands_, int64_t item_, GemmRange rows_, GemmRange columns_,
               float* partial)
      : plan(plan_), operands(operands_), item(item_), rows(rows_), columns(columns_) {
    const GemmTable& table = *plan.table;
    panels = ceil_div(rows.size(), table.tile_rows);
    const int64_t a_floats = panels * table.tile_rows * GEMM_ROW_STRIDE, b_floats = group() * GEMM_DEPTH;
    a = thread_scratch(size_t(a_floats + b_floats) + size_t(rows.size() * 2));
    b = a + a_floats;
    offsets = reinterpret_cast<int64_t*>(b + b_floats);
    if (partial == nullptr) {
      operands.output_rows(item, rows.begin, rows.size(), offsets);
      output = operands.output(item);
    } else {
      for (int64_t r = 0; r < rows.size(); r++) offsets[r] = (rows.begin + r) * plan.n;
      output = partial;
    }
    epilogue = operands.epilogue(item);
  }

  void ask_for(GemmRange next) {
    ahead = operands.dense_rows(item, next.begin);
    if (ahead != nullptr) ahead_floats = next.size() * plan.k;
  }

  int64_t group() const { return COLUMN_GROUP * plan.table->tile_columns; }

  void add_packed(GemmRange k, const float* packed, bool last) const {
    if (plan.bf16 != nullptr) round_a(k);
    else operands.pack_a(item, rows.begin, rows.size(), k.begin, k.size(), panels, a);
    multiply(k, columns.begin, columns.size(), packed, last, k.begin > 0);
  }

  void add(GemmRange k, bool first, bool last) const {
    operands.pack_a(item, rows.begin, rows.size(), k.begin, k.size(), panels, a);
    for (int64_t column = columns.begin; column < columns.end; column += group()) {
      const int64_t width = std::min(group(), columns.end - column);
      operands.pack_b(item, column, width, k.begin, k.size(), b);
      multiply(k, column, width, b, last, !first);
    }
  }

 private:
  void round_a(GemmRange k) const {
    constexpr int64_t ROUNDED = 14;  // rows, gathered while they stay in the first-level cache
    int64_t stride = 0;
    const float* const from = operands.lying_row(item, rows.begin, k.begin, &stride);
    if (from != nullptr) return plan.bf16->round_rows(from, stride, rows.size(), k.size(), reinterpret_cast<uint32_t*>(a));
    for (int64_t row = 0; row < rows.size(); row += ROUNDED) {
      const int64_t count = std::min(ROUNDED, rows.size() - row);
      float* const own = a + row * GEMM_ROW_STRIDE;
      operands.pack_a(item, rows.begin + row, count, k.begin, k.size(), 1, own);
      plan.bf16->round_rows(own, GEMM_ROW_STRIDE, count, k.size(), reinterpret_cast<uint32_t*>(own));
    }
  }

  void multiply(GemmRange k, int64_t column, int64_t width, const float* packed, bool last, bool accumulate) const {
    GemmEpilogue own;
    if (k.begin == 0 && epilogue.bias != nullptr) own.bias = epilogue.bias + column;
    if (last) {
      own.low = epilogue.low, own.high = epilogue.high;
      if (epilogue.residual != nullptr) own.residual = epilogue.residual + column;
    }
    const int64_t depth = plan.words(k.size()), tile_columns = plan.table->tile_columns;
    const auto function = plan.bf16 != nullptr ? plan.bf16->multiply : plan.table->multiply;
    function({a, operands.a_order(), panels, packed, tile_columns, depth * tile_columns, rows.size(), width, depth,
              output + column, offsets, own, accumulate, ahead, ahead_floats});
  }
};

void multiply_stripe(const GemmPlan& plan, const GemmOperands& operands, const Stripe& stripe, const float* packed) {
  // A chunk takes several row blocks one after another: so it is known what the next one packs. Row blocks run fastest,
  // so that threads share the columns of B that they are working on.
  const int64_t in_chunk = at_least_one(plan.row_blocks / (2 * CHUNKS_WANTED));
  const int64_t chunks = ceil_div(plan.row_blocks, in_chunk);
  parallel_for(stripe.blocks.size() * chunks, [&](int64_t chunk, int) {
    const int64_t block = stripe.blocks.begin + chunk / chunks, item = block / plan.column_blocks;
    const GemmRange columns = plan.columns(block % plan.column_blocks);
    const int64_t first = chunk % chunks * in_chunk, end = std::min(first + in_chunk, plan.row_blocks);
    for (int64_t row_block = first; row_block < end && columns.size() > 0; row_block++) {
      const GemmRange rows = plan.rows(row_block);
      if (rows.size() == 0) continue;
      BlockProduct product(plan, operands, item, rows, columns, nullptr);
      if (plan.steps == 1 && row_block + 1 < plan.row_blocks) product.ask_for(plan.rows(row_block + 1));
      for (int64_t step = stripe.steps.begin; step < stripe.steps.end; step++) {
        const GemmRange k = plan.depth(0, step);
        product.add_packed(k, packed + stripe.offset(plan, block, k.begin), step == plan.steps - 1);
      }
    }
  });
}

void multiply_shared(const GemmPlan& plan, const GemmOperands& operands, float* workspace) {
  const int64_t blocks = plan.batch * plan.column_blocks, block_step = plan.stripe_blocks(), step = plan.stripe_steps();
  for (int64_t block = 0; block < blocks; block += block_step)
    for (int64_t first = 0; first < plan.steps; first += step) {
      const Stripe stripe(plan, {block, std::min(block + block_step, blocks)}, {first, std::min(first + step, plan.steps)});
      pack_stripe(plan, operands, stripe, workspace);
      multiply_stripe(plan, operands, stripe, workspace);
    }
}

void multiply_apart(const GemmPlan& plan, const GemmOperands& operands, float* partials) {
  const int64_t size = plan.m * plan.n, total = plan.batch * size;
  const int64_t groups = ceil_div(plan.batch, plan.items_per_chunk);
  parallel_for(groups * plan.column_blocks * plan.splits * plan.row_blocks, [&](int64_t chunk, int) {
    const int64_t rest = chunk / plan.row_blocks, split = rest % plan.splits;
    const GemmRange rows = plan.rows(chunk % plan.row_blocks);
    const GemmRange columns = plan.columns(rest / plan.splits % plan.column_blocks);
    const int64_t first = rest / plan.splits / plan.column_blocks * plan.items_per_chunk;
    if (rows.size() == 0 || columns.size() == 0) return;
    for (int64_t item = first; item < std::min(first + plan.items_per_chunk, plan.batch); item++) {
      float* partial = partials != nullptr ? partials + split * total + item * size : nullptr;
      const BlockProduct product(plan, operands, item, rows, columns, partial);
      for (int64_t step = 0; step < plan.steps; step++)
        product.add(plan.depth(split, step), step == 0, partial == nullptr && step == plan.steps - 1);
    }
  });
  if (partials == nullptr) return;
  constexpr int64_t GRAIN = 1 << 13;
  parallel_for(ceil_div(total, GRAIN), [&](int64_t chunk, int) {
    const int64_t begin = chunk * GRAIN, count = std::min(GRAIN, total - begin);
    plan.table->sum_partials(partials + begin, total, plan.splits, operands.output(0) + begin, count);
  });
}

Stripe whole(const GemmPlan& plan) { return Stripe(plan, {0, plan.batch * plan.column_blocks}, {0, plan.steps}); }

}  // namespace

void multiply(const GemmPlan& plan, const GemmOperands& operands, void* workspace, const float* packed_b) {
  if (plan.batch * plan.m * plan.n == 0) return;
  if (packed_b != nullptr) multiply_stripe(plan, operands, whole(plan), packed_b);
  else if (plan.shares_b) multiply_shared(plan, operands, static_cast<float*>(workspace));
  else multiply_apart(plan, operands, plan.splits > 1 ? static_cast<float*>(workspace) : nullptr);
}

void pack_b(const GemmPlan& plan, const GemmOperands& operands, float* packed) {
  if (plan.packed_bytes() > 0) pack_stripe(plan, operands, whole(plan), packed);
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
