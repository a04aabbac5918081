#include "kernels/movement.h"

#include "simd.h"

namespace coolnn {
namespace COOLNN_ISA {
namespace {

// Side of the square blocks of a transpose: one cache line of 4-byte elements.
constexpr int64_t BLOCK = 16;

template <class T>
INLINE void transpose_block(const T* src, int64_t src_step, T* dst, int64_t dst_row, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t j = 0; j < n; j++) dst[r * dst_row + j] = src[r + j * src_step];
}

typedef uint32_t quad __attribute__((vector_size(16)));
typedef uint32_t quad_unaligned __attribute__((vector_size(16), aligned(4), may_alias));

// A whole block of 4-byte elements, four by four in registers.
INLINE void transpose_full_block(const uint32_t* src, int64_t src_step, uint32_t* dst, int64_t dst_row) {
  for (int64_t j = 0; j < BLOCK; j += 4)
    for (int64_t r = 0; r < BLOCK; r += 4) {
      const uint32_t* s = src + r + j * src_step;
      uint32_t* d = dst + r * dst_row + j;
      const quad a0 = *(const quad_unaligned*)s, a1 = *(const quad_unaligned*)(s + src_step);
      const quad a2 = *(const quad_unaligned*)(s + 2 * src_step), a3 = *(const quad_unaligned*)(s + 3 * src_step);
      const quad b0 = __builtin_shufflevector(a0, a1, 0, 4, 1, 5), b1 = __builtin_shufflevector(a2, a3, 0, 4, 1, 5);
      const quad b2 = __builtin_shufflevector(a0, a1, 2, 6, 3, 7), b3 = __builtin_shufflevector(a2, a3, 2, 6, 3, 7);
      *(quad_unaligned*)d = __builtin_shufflevector(b0, b1, 0, 1, 4, 5);
      *(quad_unaligned*)(d + dst_row) = __builtin_shufflevector(b0, b1, 2, 3, 6, 7);
      *(quad_unaligned*)(d + 2 * dst_row) = __builtin_shufflevector(b2, b3, 0, 1, 4, 5);
      *(quad_unaligned*)(d + 3 * dst_row) = __builtin_shufflevector(b2, b3, 2, 3, 6, 7);
    }
}
template <class T> INLINE void transpose_full_block(const T* src, int64_t src_step, T* dst, int64_t dst_row) {
  transpose_block(src, src_step, dst, dst_row, BLOCK, BLOCK);
}

// dst[r * dst_row + j] = src[r + j * src_step]
template <class T>
void transpose(const T* src, int64_t src_step, T* dst, int64_t dst_row, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r += BLOCK)
    for (int64_t j = 0; j < n; j += BLOCK) {
      const T* s = src + r + j * src_step;
      T* d = dst + r * dst_row + j;
      const int64_t height = rows - r < BLOCK ? rows - r : BLOCK, width = n - j < BLOCK ? n - j : BLOCK;
      if (height == BLOCK && width == BLOCK) transpose_full_block(s, src_step, d, dst_row);
      else transpose_block(s, src_step, d, dst_row, height, width);
    }
}

template <class T> void copy_rows(const void* from, int64_t src_row, int64_t src_step, void* to, int64_t dst_row,
                                  int64_t dst_step, int64_t rows, int64_t n) {
  const T* src = static_cast<const T*>(from);
  T* dst = static_cast<T*>(to);
  if (src_step == 1 && dst_step == 1) {
    for (int64_t r = 0; r < rows; r++) __builtin_memcpy(dst + r * dst_row, src + r * src_row, size_t(n) * sizeof(T));
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
