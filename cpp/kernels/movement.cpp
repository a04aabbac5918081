#include "kernels/movement.h"

#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {
namespace {

// Side of the square blocks of a transpose: one cache line of 4-byte elements.
constexpr int64_t BLOCK = 16;

template <class T>
INLINE void transpose_elements(const T* src, int64_t src_step, T* dst, int64_t dst_row, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t j = 0; j < n; j++) dst[r * dst_row + j] = src[r + j * src_step];
}

template <class T>
INLINE void transpose_block(const T* src, int64_t src_step, T* dst, int64_t dst_row, int64_t rows, int64_t n) {
  transpose_elements(src, src_step, dst, dst_row, rows, n);
}

typedef uint32_t quad __attribute__((vector_size(16)));
typedef uint32_t quad_unaligned __attribute__((vector_size(16), aligned(4), may_alias));

// Elements of 4 bytes go four by four through registers.
INLINE void transpose_quads(const uint32_t* src, int64_t src_step, uint32_t* dst, int64_t dst_row) {
  const quad a0 = *(const quad_unaligned*)src, a1 = *(const quad_unaligned*)(src + src_step);
  const quad a2 = *(const quad_unaligned*)(src + 2 * src_step), a3 = *(const quad_unaligned*)(src + 3 * src_step);
  const quad b0 = __builtin_shufflevector(a0, a1, 0, 4, 1, 5), b1 = __builtin_shufflevector(a2, a3, 0, 4, 1, 5);
  const quad b2 = __builtin_shufflevector(a0, a1, 2, 6, 3, 7), b3 = __builtin_shufflevector(a2, a3, 2, 6, 3, 7);
  *(quad_unaligned*)dst = __builtin_shufflevector(b0, b1, 0, 1, 4, 5);
  *(quad_unaligned*)(dst + dst_row) = __builtin_shufflevector(b0, b1, 2, 3, 6, 7);
  *(quad_unaligned*)(dst + 2 * dst_row) = __builtin_shufflevector(b2, b3, 0, 1, 4, 5);
  *(quad_unaligned*)(dst + 3 * dst_row) = __builtin_shufflevector(b2, b3, 2, 3, 6, 7);
}
INLINE void transpose_block(const uint32_t* src, int64_t src_step, uint32_t* dst, int64_t dst_row, int64_t rows,
                            int64_t n) {
  const int64_t whole_rows = rows & ~int64_t(3), whole_n = n & ~int64_t(3);
  for (int64_t j = 0; j < whole_n; j += 4)
    for (int64_t r = 0; r < whole_rows; r += 4)
      transpose_quads(src + r + j * src_step, src_step, dst + r * dst_row + j, dst_row);
  transpose_elements(src + whole_n * src_step, src_step, dst + whole_n, dst_row, whole_rows, n - whole_n);
  transpose_elements(src + whole_rows, src_step, dst + whole_rows * dst_row, dst_row, rows - whole_rows, n);
}

// dst[r * dst_row + j] = src[r + j * src_step]
template <class T>
void transpose(const T* src, int64_t src_step, T* dst, int64_t dst_row, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r += BLOCK)
    for (int64_t j = 0; j < n; j += BLOCK) {
      const T* s = src + r + j * src_step;
      T* d = dst + r * dst_row + j;
      const int64_t height = rows - r < BLOCK ? rows - r : BLOCK, width = n - j < BLOCK ? n - j : BLOCK;
      if (height == BLOCK && width == BLOCK) transpose_block(s, src_step, d, dst_row, BLOCK, BLOCK);
      else transpose_block(s, src_step, d, dst_row, height, width);
    }
}

// Rows of a length that the compiler knows, without a call for each.
template <int N, class T>
INLINE void copy_short_rows(const T* src, int64_t src_row, T* dst, int64_t dst_row, int64_t rows) {
  for (int64_t r = 0; r < rows; r++) __builtin_memcpy(dst + r * dst_row, src + r * src_row, N * sizeof(T));
}

template <class T>
void copy_runs(const T* src, int64_t src_row, T* dst, int64_t dst_row, int64_t rows, int64_t n) {
  switch (n) {
    case 1: return copy_short_rows<1>(src, src_row, dst, dst_row, rows);
    case 2: return copy_short_rows<2>(src, src_row, dst, dst_row, rows);
    case 3: return copy_short_rows<3>(src, src_row, dst, dst_row, rows);
    case 4: return copy_short_rows<4>(src, src_row, dst, dst_row, rows);
    case 6: return copy_short_rows<6>(src, src_row, dst, dst_row, rows);
    case 8: return copy_short_rows<8>(src, src_row, dst, dst_row, rows);
    case 16: return copy_short_rows<16>(src, src_row, dst, dst_row, rows);
    default:
      for (int64_t r = 0; r < rows; r++) __builtin_memcpy(dst + r * dst_row, src + r * src_row, size_t(n) * sizeof(T));
  }
}

template <class T> void copy_rows(const void* from, int64_t src_row, int64_t src_step, void* to, int64_t dst_row,
                                  int64_t dst_step, int64_t rows, int64_t n) {
  const T* src = static_cast<const T*>(from);
  T* dst = static_cast<T*>(to);
  if (src_step == 1 && dst_step == 1) {
    copy_runs(src, src_row, dst, dst_row, rows, n);
  } else if (src_step == 0 && dst_step == 1) {
    for (int64_t r = 0; r < rows; r++) {
      const T value = src[r * src_row];
      for (int64_t j = 0; j < n; j++) dst[r * dst_row + j] = value;
    }
  } else if (src_row == 1 && dst_step == 1) {
    transpose(src, src_step, dst, dst_row, rows, n);
  } else {
    for (int64_t r = 0; r < rows; r++)
      for (int64_t j = 0; j < n; j++) dst[r * dst_row + j * dst_step] = src[r * src_row + j * src_step];
  }
}

void accumulate(const float* x, float* y, int64_t n) {
  int64_t i = 0;
  for (; i + VL <= n; i += VL) store(y + i, load(y + i) + load(x + i));
  for (; i < n; i++) y[i] += x[i];
}

}  // namespace

extern const MovementTable movement_table;
const MovementTable movement_table = {copy_rows<uint8_t>, copy_rows<uint32_t>, copy_rows<uint64_t>, accumulate};

}  // namespace COOLNN_ISA
}  // namespace coolnn
