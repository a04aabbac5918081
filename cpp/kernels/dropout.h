#pragma once
#include <stdint.h>

namespace coolnn {

constexpr int PHILOX_WORDS = 4;  // random words of 32 bits a block

struct DropoutTable {
  // Philox4x32-10 (Salmon et al., 2011): the words of blocks [first, first + blocks) of the draw `offset`, block after
  // block. key and offset are 64 bits each.
  void (*philox)(uint64_t key, uint64_t offset, uint64_t first, int64_t blocks, uint32_t* words);
  // Kept are elements with words[i] >= threshold: y = x * scale and mask = 1; the others are 0.
  void (*dropout)(const float* x, const uint32_t* words, uint64_t threshold, float scale, float* y, uint8_t* mask,
                  int64_t n);
  void (*dropout_grad)(const float* grad, const uint8_t* mask, float scale, float* dx, int64_t n);
};

}  // namespace coolnn
