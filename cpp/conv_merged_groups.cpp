// Grouped convolution with few channels a group: several groups are computed as one, with zeros between them in the
// weights. That wastes multiply-adds but fills the vectors, which a few channels alone would leave nearly empty.
#include <algorithm>

#include "conv.h"
#include "parallel.h"
#include "rounding.h"

namespace coolnn {
namespace {

ConvShape merged(ConvShape s, int64_t count) {
  s.groups /= count;
  return s;
}

// How many groups to compute as one: the cheapest divisor of their number.
int64_t best_count(const ConvShape& s, ConvPass pass) {
  int64_t best = 1;
  double best_cost = 0;
  for (int64_t count = 2; count <= s.groups && count <= 64; count++) {
    if (s.groups % count != 0) continue;
    const double cost = implicit_gemm.cost(merged(s, count), pass);
    if (best == 1 || cost < best_cost) best = count, best_cost = cost;
  }
  return best;
}

class MergedGroups final : public Kernel {
 public:
  MergedGroups(const ConvShape& s, ConvPass pass)
      : shape_(s), pass_(pass), count_(best_count(s, pass)), inner_(implicit_gemm.make(merged(s, count_), pass)) {
    inner_bytes_ = size_t(round_up(int64_t(inner_->workspace_bytes), 64));
    wide_floats_ = s.oc * s.kh * s.kw * s.group_ic() * count_;
    packed_bytes = inner_->packed_bytes;
    workspace_bytes = inner_bytes_ + (packed_bytes > 0 ? 0 : size_t(wide_floats_) * sizeof(float));
  }

  void pack(const void* const* inputs, void* packed) const override {
    std::vector<float> wide(static_cast<size_t>(wide_floats_));
    copy_diagonal(static_cast<const float*>(inputs[1]), wide.data(), true);
    const void* wide_inputs[] = {nullptr, wide.data(), nullptr, nullptr};
    inner_->pack(wide_inputs, packed);
  }

  void run(const Arguments& a) const override {
    float* wide = reinterpret_cast<float*>(static_cast<char*>(a.workspace) + inner_bytes_);
    if (pass_ == ConvPass::weight_grad) {
      void* outputs[] = {wide};
      inner_->run({a.inputs, outputs, a.workspace});
      copy_diagonal(wide, a.out(0), false);
      return;
    }
    if (packed_bytes > 0) return inner_->run(a);
    copy_diagonal(a.in(1), wide, true);
    const bool forward = pass_ == ConvPass::forward;
    const void* inputs[] = {a.inputs[0], wide, forward ? a.inputs[2] : nullptr,
                            forward && shape_.finish.residual ? a.inputs[3] : nullptr};
    inner_->run({inputs, a.outputs, a.workspace});
  }

 private:
  // Between filters of one group's channels and filters of all merged groups' channels, zero outside their own group.
  void copy_diagonal(const float* from, float* to, bool widen) const {
    const int64_t channels = shape_.group_ic(), all = channels * count_, taps = shape_.kh * shape_.kw;
    parallel_range(shape_.oc, items_within(1 << 14, taps * all), [&](int64_t begin, int64_t end) {
      for (int64_t output = begin; output < end; output++) {
        const int64_t own = output / shape_.group_oc() % count_ * channels;
        for (int64_t i = output * taps; i < (output + 1) * taps; i++) {
          if (!widen) {
            std::copy_n(from + i * all + own, channels, to + i * channels);
            continue;
          }
          std::fill_n(to + i * all, all, 0.0f);
          std::copy_n(from + i * channels, channels, to + i * all + own);
        }
      }
    });
  }

  ConvShape shape_;
  ConvPass pass_;
  int64_t count_;
  KernelPtr inner_;
  size_t inner_bytes_;
  int64_t wide_floats_;
};

bool accepts(const ConvShape& s, ConvPass pass) { return s.groups > 1 && s.ic > 0 && best_count(s, pass) > 1; }

double cost(const ConvShape& s, ConvPass pass) { return implicit_gemm.cost(merged(s, best_count(s, pass)), pass); }

KernelPtr make(const ConvShape& shape, ConvPass pass) { return std::make_unique<MergedGroups>(shape, pass); }

}  // namespace

const ConvAlgorithm merged_groups_convolution = {"merged_groups", true, false, accepts, cost, make};

}  // namespace coolnn
