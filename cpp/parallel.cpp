#include "parallel.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "cores.h"

namespace coolnn {
namespace {

// Idle workers spin this many times before they sleep: some tenths of a millisecond, longer than the work between two
// operations that are split, shorter than anyone would notice as load.
constexpr int SPINS = 20000;

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// COOLNN_THREADS if it is a number of threads (of what is none Python warns), else all cores that may be used.
int default_threads() {
  if (const char* text = std::getenv("COOLNN_THREADS")) {
    char* end = nullptr;
    const long n = std::strtol(text, &end, 10);
    if (*text >= '0' && *text <= '9' && *end == '\0' && n >= 1 && n <= MAX_THREADS) return int(n);
  }
  return usable_cores();
}

class Pool {
 public:
  ~Pool() { stop(); }

  int size() const { return size_.load(std::memory_order_relaxed); }

  void resize(int n) {
    const std::lock_guard<std::mutex> busy(busy_);
    stop();
    size_ = n > 0 ? n : default_threads();
  }

  void run(int64_t chunks, void* context, detail::ChunkFunction function) {
    std::unique_lock<std::mutex> busy(busy_, std::try_to_lock);
    if (inside_ || size() == 1 || !busy.owns_lock() || chunks >= int64_t(CLOSED)) {
      for (int64_t chunk = 0; chunk < chunks; chunk++) function(context, chunk, 0);
      return;
    }
    if (threads_.empty()) start();
    // All tickets are closed: no worker takes anything until the new job is complete and the tickets opened.
    context_.store(context, std::memory_order_relaxed);
    function_.store(function, std::memory_order_relaxed);
    chunks_.store(chunks, std::memory_order_release);  // after the closing of the tickets
    done_.store(0, std::memory_order_relaxed);
    const uint64_t job = next_job();
    for (int share = shares() - 1; share >= 0; share--)
      tickets_[share].value.store(job | uint64_t(begin_of(share, chunks)), std::memory_order_seq_cst);
    if (sleeping_.load(std::memory_order_seq_cst) > 0) {
      { const std::lock_guard<std::mutex> lock(sleep_); }
      wake_.notify_all();
    }
    inside_ = true;
    work(0);
    inside_ = false;
    // Only those are waited for that have begun a chunk: a worker whose core another process holds keeps nobody waiting.
    for (int spins = 0; done_.load(std::memory_order_acquire) < chunks; spins++) {
      if (spins < SPINS) pause();
      else std::this_thread::yield();
    }
    close(job);
  }

  // In the child of a fork the workers are gone: forget them, start anew when needed.
  void forget() {
    for (std::thread& thread : threads_) new (&thread) std::thread();
    threads_.clear();
    new (&busy_) std::mutex();
    new (&sleep_) std::mutex();
    new (&wake_) std::condition_variable();
    sleeping_ = 0;
    inside_ = false;
    close(next_job());
  }

 private:
  // The chunks of a job are dealt out in equal shares of neighbours, one to each thread (or to several, of many), which
  // takes from the others' when its own is done: so that it mostly finds in its cache what it wrote in the step before.
  // A share has a ticket: the number of the job in the upper half, the next chunk in the lower; CLOSED there means that
  // no job is open.
  static constexpr uint64_t CLOSED = 0xffffffff;
  static constexpr int MOST_SHARES = 16;
  struct alignas(64) Ticket {  // of a cache line of its own
    std::atomic<uint64_t> value{CLOSED};
  };
  static uint64_t job_of(uint64_t ticket) { return ticket & ~CLOSED; }
  uint64_t next_job() const { return job_of(tickets_[0].value.load(std::memory_order_relaxed)) + CLOSED + 1; }
  void close(uint64_t job) {
    for (Ticket& ticket : tickets_) ticket.value.store(job | CLOSED, std::memory_order_relaxed);
  }
  int shares() const { return std::min(size(), MOST_SHARES); }
  int64_t begin_of(int share, int64_t chunks) const { return chunks * share / shares(); }

  void start() {
    stopping_ = false;
    const uint64_t seen = job_of(tickets_[0].value.load());
    try {
      for (int worker = 1; worker < size(); worker++) threads_.emplace_back([this, worker, seen] { loop(worker, seen); });
    } catch (const std::system_error&) {
      // The system gives no more threads: those that there are do the work.
    }
  }

  void stop() {
    if (threads_.empty()) return;
    stopping_ = true;
    close(next_job());
    { const std::lock_guard<std::mutex> lock(sleep_); }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  void loop(int worker, uint64_t seen) {
    inside_ = true;
    const std::atomic<uint64_t>& ticket = tickets_[worker % MOST_SHARES].value;
    for (;;) {
      for (int spins = 0; spins < SPINS && job_of(ticket.load(std::memory_order_acquire)) == seen; spins++) pause();
      if (job_of(ticket.load(std::memory_order_acquire)) == seen) {
        std::unique_lock<std::mutex> lock(sleep_);
        sleeping_.fetch_add(1, std::memory_order_seq_cst);
        wake_.wait(lock, [&] { return job_of(ticket.load(std::memory_order_seq_cst)) != seen; });
        sleeping_.fetch_sub(1, std::memory_order_relaxed);
      }
      seen = job_of(ticket.load(std::memory_order_acquire));
      if (stopping_) return;
      work(worker);
    }
  }

  // Takes chunks of the open job for as long as there are any, of its own share first.
  void work(int worker) {
    const int all = shares();
    for (int i = 0; i < all; i++) work_on((worker + i) % all, worker);
  }

  // What is read of the job belongs to the ticket if the ticket is still the same when the next chunk is taken from it:
  // a new job has another number.
  void work_on(int share, int worker) {
    std::atomic<uint64_t>& source = tickets_[share].value;
    uint64_t ticket = source.load(std::memory_order_acquire);
    for (;;) {
      const int64_t chunk = int64_t(ticket & CLOSED);
      if (chunk >= begin_of(share + 1, chunks_.load(std::memory_order_acquire))) return;
      void* const context = context_.load(std::memory_order_relaxed);
      const detail::ChunkFunction function = function_.load(std::memory_order_relaxed);
      if (!source.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
      function(context, chunk, worker);
      done_.fetch_add(1, std::memory_order_release);
      ticket = source.load(std::memory_order_acquire);
    }
  }

  static thread_local bool inside_;
  std::atomic<int> size_{default_threads()};
  std::vector<std::thread> threads_;
  std::mutex busy_, sleep_;
  std::condition_variable wake_;
  Ticket tickets_[MOST_SHARES];
  alignas(64) std::atomic<int64_t> done_{0};
  alignas(64) std::atomic<int64_t> chunks_{0};
  std::atomic<void*> context_{nullptr};
  std::atomic<detail::ChunkFunction> function_{nullptr};
  std::atomic<int> sleeping_{0};
  std::atomic<bool> stopping_{false};
};
thread_local bool Pool::inside_ = false;

Pool& pool() {
  // Never destroyed: at exit the workers may outlive static destructors.
  static Pool* instance = [] {
    Pool* made = new Pool;
    pthread_atfork(nullptr, nullptr, [] { pool().forget(); });
    return made;
  }();
  return *instance;
}

}  // namespace

int num_threads() { return pool().size(); }
void set_num_threads(int n) {
  if (n < 0 || n > MAX_THREADS)
    throw std::invalid_argument("the number of threads must be 0 (all cores) to " + std::to_string(MAX_THREADS) +
                                ", not " + std::to_string(n));
  pool().resize(n);
}

void detail::parallel_chunks(int64_t chunks, void* context, ChunkFunction function) {
  pool().run(chunks, context, function);
}

}  // namespace coolnn
