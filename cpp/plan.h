// A plan: prepared kernels in the order in which they run, over one block of memory.
#pragma once
#include <memory>
#include <vector>

#include "kernel.h"

namespace coolnn {

// Where a kernel finds a buffer: nowhere (an absent input), at an offset in the arena, or in a buffer that the caller
// gives with each run (weights, pictures, results).
struct Place {
  enum Kind : int { absent = 0, arena = 1, external = 2 };
  Kind kind = absent;
  size_t index = 0;  // byte offset in the arena, or number of the external buffer
};

class Plan {
 public:
  // Throws std::invalid_argument if a place lies outside the arena or beyond the external buffers.
  Plan(size_t arena_bytes, std::vector<size_t> external_bytes);
  void add(std::shared_ptr<const Kernel> kernel, std::vector<Place> inputs, std::vector<size_t> input_bytes,
           std::vector<Place> outputs, std::vector<size_t> output_bytes, size_t workspace_offset, Place packed = {});

  // Runs all steps. `seconds`, if given, receives the time of each.
  void run(void* arena, void* const* externals, double* seconds = nullptr) const;

  size_t size() const { return steps_.size(); }
  size_t arena_bytes() const { return arena_bytes_; }
  const std::vector<size_t>& external_bytes() const { return external_bytes_; }
  // The numbers of the external buffers that some step writes to.
  const std::vector<size_t>& written() const { return written_; }
  const Kernel& kernel(size_t step) const { return *steps_.at(step).kernel; }

 private:
  struct Step {
    std::shared_ptr<const Kernel> kernel;
    size_t first_input, first_output, end;  // in places_
    size_t workspace_offset;
    Place packed;
  };
  void check(const std::vector<Place>& places, const std::vector<size_t>& bytes) const;

  size_t arena_bytes_;
  std::vector<size_t> external_bytes_;
  std::vector<Step> steps_;
  std::vector<Place> places_;
  std::vector<size_t> written_;
};

}  // namespace coolnn
