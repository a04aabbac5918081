#include "plan.h"

#include <algorithm>
#include <chrono>

namespace coolnn {

Plan::Plan(size_t arena_bytes, std::vector<size_t> external_bytes)
    : arena_bytes_(arena_bytes), external_bytes_(std::move(external_bytes)) {}

void Plan::check(const std::vector<Place>& places, const std::vector<size_t>& bytes) const {
  if (places.size() != bytes.size()) throw std::invalid_argument("a step has places for another number of buffers");
  for (size_t i = 0; i < places.size(); i++) {
    const Place& place = places[i];
    if (place.kind == Place::arena && (place.index > arena_bytes_ || bytes[i] > arena_bytes_ - place.index))
      throw std::invalid_argument("a step reaches beyond the arena");
    if (place.kind == Place::external && (place.index >= external_bytes_.size() || bytes[i] > external_bytes_[place.index]))
      throw std::invalid_argument("a step reaches beyond an external buffer");
  }
}

void Plan::add(std::shared_ptr<const Kernel> kernel, std::vector<Place> inputs, std::vector<size_t> input_bytes,
               std::vector<Place> outputs, std::vector<size_t> output_bytes, size_t workspace_offset, Place packed) {
  check(inputs, input_bytes);
  check(outputs, output_bytes);
  check({Place{Place::arena, workspace_offset}}, {kernel->workspace_bytes});
  check({packed}, {kernel->packed_bytes});
  if (kernel->packed_bytes > 0 && packed.kind != Place::external)
    throw std::invalid_argument("a step lacks its packed weights");
  for (const Place& place : outputs)
    if (place.kind == Place::external && std::find(written_.begin(), written_.end(), place.index) == written_.end())
      written_.push_back(place.index);
  Step step{std::move(kernel), places_.size(), places_.size() + inputs.size(), 0, workspace_offset, packed};
  places_.insert(places_.end(), inputs.begin(), inputs.end());
  places_.insert(places_.end(), outputs.begin(), outputs.end());
  step.end = places_.size();
  steps_.push_back(std::move(step));
}

void Plan::run(void* arena, void* const* externals, double* seconds) const {
  char* const base = static_cast<char*>(arena);
  std::vector<void*> pointers(places_.size());
  for (size_t i = 0; i < places_.size(); i++) {
    const Place& place = places_[i];
    if (place.kind == Place::arena) pointers[i] = base + place.index;
    else if (place.kind == Place::external) pointers[i] = externals[place.index];
  }
  using Clock = std::chrono::steady_clock;
  for (size_t i = 0; i < steps_.size(); i++) {
    const Step& step = steps_[i];
    const Clock::time_point start = seconds ? Clock::now() : Clock::time_point();
    step.kernel->run({&pointers[step.first_input], &pointers[step.first_output], base + step.workspace_offset,
                      step.packed.kind == Place::external ? externals[step.packed.index] : nullptr});
    if (seconds) seconds[i] = std::chrono::duration<double>(Clock::now() - start).count();
  }
}

}  // namespace coolnn
