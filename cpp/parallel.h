// Threads. Work is cut into chunks that depend on the problem alone, never on the number of threads, so results are
// the same bits on any number of them.
#pragma once
#include <cstdint>
#include <type_traits>

#include "rounding.h"

namespace coolnn {

int num_threads();
void set_num_threads(int n);  // 0: the default (COOLNN_THREADS, else the cores this process may use)

namespace detail {
using ChunkFunction = void (*)(void* context, int64_t chunk, int worker);
void parallel_chunks(int64_t chunks, void* context, ChunkFunction function);
}  // namespace detail

// Calls f(chunk, worker) once for each chunk in [0, chunks), in any order, on up to num_threads() workers;
// worker < num_threads() names the calling worker, for per-worker scratch memory whose content does not outlive a
// chunk. f must not throw. A call from inside a chunk, or while another thread's call is under way, runs on the
// calling thread alone (as worker 0).
template <class F> void parallel_for(int64_t chunks, F&& f) {
  if (chunks == 1) return f(int64_t(0), 0);
  if (chunks <= 0) return;
  detail::parallel_chunks(chunks, &f, [](void* context, int64_t chunk, int worker) {
    (*static_cast<std::remove_reference_t<F>*>(context))(chunk, worker);
  });
}

// Cuts [0, n) into chunks of `grain` elements (the last may be shorter) and calls f(begin, end) for each.
template <class F> void parallel_range(int64_t n, int64_t grain, F&& f) {
  const int64_t chunks = ceil_div(n, grain);
  parallel_for(chunks, [&](int64_t chunk, int) {
    const int64_t begin = chunk * grain;
    f(begin, begin + grain < n ? begin + grain : n);
  });
}

}  // namespace coolnn
