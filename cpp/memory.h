// Memory for tensors. Freed blocks are kept for reuse, because fresh large blocks cost a page fault every 4 KiB, which
// on a training step is a noticeable part of the time.
#pragma once
#include <cstddef>

namespace coolnn {

void* pool_allocate(size_t bytes);  // aligned to 64 bytes; throws std::bad_alloc
void pool_free(void* block) noexcept;
void pool_trim() noexcept;  // gives back what is kept
size_t pool_in_use() noexcept;
size_t pool_peak() noexcept;  // most bytes in use at once since the last pool_reset_peak
void pool_reset_peak() noexcept;
size_t pool_kept() noexcept;

}  // namespace coolnn
