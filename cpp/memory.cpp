#include "memory.h"

#include <pthread.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

namespace coolnn {
namespace {

constexpr size_t HUGE_PAGE = size_t(2) << 20;
constexpr size_t MOST = size_t(1) << 48;  // beyond what processors address; below, no rounding of sizes overflows
constexpr size_t LARGE = size_t(1) << 20;  // from here on, blocks are whole huge pages where the system has them

// Sizes are rounded so that blocks of nearly the same size serve each other: powers of two in eight steps.
size_t size_class(size_t bytes) {
  if (bytes <= 64) return 64;
  size_t step = size_t(1) << (63 - __builtin_clzll(bytes));
  step = step / 8 < 64 ? 64 : step / 8;
  if (bytes > LARGE && step < HUGE_PAGE / 8) step = HUGE_PAGE / 8;
  return (bytes + step - 1) / step * step;
}

// Says how much there was no memory for; Python shows the text.
class OutOfMemory final : public std::bad_alloc {
 public:
  explicit OutOfMemory(size_t bytes) {
    std::snprintf(text_, sizeof text_, "there is no memory for another %.1f MiB; use a smaller batch or picture",
                  double(bytes) / (1 << 20));
  }
  const char* what() const noexcept override { return text_; }

 private:
  char text_[100];
};

class MemoryPool {
 public:
  void* allocate(size_t bytes) {
    if (bytes > MOST) throw OutOfMemory(bytes);
    size_t size = size_class(bytes);
    const std::lock_guard<std::mutex> lock(mutex_);
    void* block = take(size);
    if (block == nullptr) {  // what is kept makes room first, else a larger block would stand beside its forerunner
      const size_t used = in_use_ + size, most = bound(peak_ > used ? peak_ : used);
      if (kept_ + used > most) trim_locked(most - used);
      block = fresh(size);
    }
    sizes_.emplace(block, size);
    in_use_ += size;
    if (in_use_ > peak_) peak_ = in_use_;
    return block;
  }

  void release(void* block) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = sizes_.find(block);
    if (found == sizes_.end()) return;
    const size_t size = found->second;
    sizes_.erase(found);
    in_use_ -= size;
    free_[size].push_back(block);
    kept_ += size;
    if (kept_ + in_use_ > bound(peak_)) trim_locked(peak_ > in_use_ ? peak_ - in_use_ : 0);
  }

  void trim() noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    trim_locked(0);
  }

  // Held while the process forks, so that no other thread is at work in here and the child finds all in order.
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

  size_t in_use() noexcept { return read(in_use_); }
  size_t peak() noexcept { return read(peak_); }
  size_t kept() noexcept { return read(kept_); }
  void reset_peak() noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    peak_ = in_use_;
  }

 private:
  // Most bytes to hold, used or kept: little more than were ever in use at once, so that memory stays level when shapes
  // vary.
  static size_t bound(size_t peak) { return peak + peak / 4 + 16 * LARGE; }

  size_t read(const size_t& value) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    return value;
  }

  // A kept block of this size, or one at most a quarter larger.
  void* take(size_t& size) {
    for (auto it = free_.lower_bound(size); it != free_.end() && it->first <= size + size / 4; ++it) {
      if (it->second.empty()) continue;
      void* block = it->second.back();
      it->second.pop_back();
      size = it->first;
      kept_ -= size;
      return block;
    }
    return nullptr;
  }

  void* fresh(size_t size) {
    void* block = std::aligned_alloc(size > LARGE ? 4096 : 64, size);
    if (block == nullptr) {
      trim_locked(0);
      block = std::aligned_alloc(64, size);
    }
    if (block == nullptr) throw OutOfMemory(size);
#if defined(MADV_HUGEPAGE)
    if (size >= HUGE_PAGE) madvise(block, size, MADV_HUGEPAGE);  // a hint: failure costs only speed
#endif
    return block;
  }

  void trim_locked(size_t keep) noexcept {
    for (auto it = free_.rbegin(); it != free_.rend() && kept_ > keep; ++it) {
      while (!it->second.empty() && kept_ > keep) {
        std::free(it->second.back());
        it->second.pop_back();
        kept_ -= it->first;
      }
    }
  }

  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> free_;
  std::unordered_map<void*, size_t> sizes_;
  size_t in_use_ = 0, peak_ = 0, kept_ = 0;
};

MemoryPool& memory() {
  static MemoryPool* instance = [] {
    pthread_atfork([] { memory().lock(); }, [] { memory().unlock(); }, [] { memory().unlock(); });
    return new MemoryPool;  // never destroyed: tensors may be freed during exit
  }();
  return *instance;
}

}  // namespace

#if defined(COOLNN_SANITIZE)
// Exact sizes and no reuse, so that the sanitizer sees every step beyond the end of a tensor.
void* pool_allocate(size_t bytes) {
  void* block = nullptr;
  if (bytes > MOST || posix_memalign(&block, 64, bytes > 0 ? bytes : 1) != 0) throw OutOfMemory(bytes);
  return block;
}
void pool_free(void* block) noexcept { std::free(block); }
#else
void* pool_allocate(size_t bytes) { return memory().allocate(bytes); }
void pool_free(void* block) noexcept { memory().release(block); }
#endif
void pool_trim() noexcept { memory().trim(); }
size_t pool_in_use() noexcept { return memory().in_use(); }
size_t pool_peak() noexcept { return memory().peak(); }
void pool_reset_peak() noexcept { memory().reset_peak(); }
size_t pool_kept() noexcept { return memory().kept(); }

}  // namespace coolnn
