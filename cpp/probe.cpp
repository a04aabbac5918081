#include "probe.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "isa.h"
#include "parallel.h"

namespace coolnn {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

}  // namespace

double measure_fma_peak(double seconds) {
  const ProbeTable& probe = isa().probe;
  const int64_t chunks = 8 * num_threads(), rounds = 2000;
  std::vector<float> results(static_cast<size_t>(chunks));
  double best = 0;
  const Clock::time_point begin = Clock::now();
  do {
    const Clock::time_point start = Clock::now();
    parallel_for(chunks, [&](int64_t chunk, int) { results[size_t(chunk)] = probe.fma_chains(rounds); });
    best = std::max(best, double(chunks * rounds * probe.flops_a_round) / seconds_since(start));
  } while (seconds_since(begin) < seconds);
  return best;
}

double measure_fork_join() {
  const int64_t chunks = num_threads();
  std::vector<double> times(200);
  for (double& time : times) {
    const Clock::time_point start = Clock::now();
    parallel_for(chunks, [](int64_t, int) {});
    time = seconds_since(start);
  }
  std::nth_element(times.begin(), times.begin() + 100, times.end());
  return times[100];
}

}  // namespace coolnn
