#include "finish.h"

#include "isa.h"
#include "parallel.h"

namespace coolnn {
namespace {

constexpr int64_t GRAIN = 1 << 15;

class Finished final : public Kernel {
 public:
  Finished(KernelPtr kernel, const Finish& finish, int64_t elements)
      : kernel_(std::move(kernel)), finish_(finish), elements_(elements), function_(isa().elementwise.finish) {
    algorithm = kernel_->algorithm;
    workspace_bytes = kernel_->workspace_bytes;
    packed_bytes = kernel_->packed_bytes;
  }
  void pack(const void* const* inputs, void* packed) const override { kernel_->pack(inputs, packed); }
  void run(const Arguments& a) const override {
    kernel_->run(a);
    float* const y = a.out(0);
    const float* const residual = finish_.residual ? a.in(3) : nullptr;
    parallel_range(elements_, GRAIN, [&](int64_t begin, int64_t end) {
      function_(y + begin, residual ? residual + begin : nullptr, finish_.low, finish_.high, end - begin);
    });
  }

 private:
  const KernelPtr kernel_;
  const Finish finish_;
  const int64_t elements_;
  const decltype(ElementwiseTable::finish) function_;
};

}  // namespace

KernelPtr with_finish(KernelPtr kernel, const Finish& finish, int64_t elements) {
  if (!finish.any()) return kernel;
  return std::make_unique<Finished>(std::move(kernel), finish, elements);
}

}  // namespace coolnn
