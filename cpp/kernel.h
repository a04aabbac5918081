// What a kernel is: an object prepared once for (operation, attributes, shapes) and run many times.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

namespace coolnn {

constexpr int MAX_RANK = 8;
constexpr int64_t MAX_BYTES = int64_t(1) << 47;  // of a tensor: all that processors can address, and no sum overflows

enum class DType : int { f32 = 0, f64 = 1, i64 = 2, i32 = 3, u8 = 4, boolean = 5 };
size_t dtype_bytes(DType dtype);

// A tensor's type and shape as users see it (activations N, C, H, W; weights O, I, kH, kW), and its strides in
// elements. Tensors are always dense; those of rank 4 are stored channels-last (the second axis runs fastest),
// all others row-major.
struct Spec {
  DType dtype = DType::f32;
  int rank = -1;  // -1: this optional input is absent
  int64_t shape[MAX_RANK] = {};
  int64_t stride[MAX_RANK] = {};

  Spec() = default;
  // Throws std::invalid_argument for more than MAX_RANK axes, a negative length, or more than MAX_BYTES.
  Spec(DType dtype, const std::vector<int64_t>& shape);
  bool present() const { return rank >= 0; }
  int64_t elements() const;
  size_t bytes() const { return size_t(elements()) * dtype_bytes(dtype); }
};

using Attribute = std::variant<int64_t, double, std::string, std::vector<int64_t>, std::vector<double>>;

// Everything that is known before any data is: what a kernel is prepared from.
struct Problem {
  std::string name;
  std::vector<std::pair<std::string, Attribute>> attributes;
  std::vector<Spec> inputs;
  std::vector<Spec> outputs;
  bool constant_weights = false;  // the input that holds weights stays as it is: see Kernel::pack
  bool bf16 = false;  // constant weights and what they are multiplied with may be rounded to bfloat16, where that is faster

  // Typed look-up; the second form gives the fallback where the attribute is absent. Throw on a wrong type.
  int64_t integer(const char* key) const;
  int64_t integer(const char* key, int64_t fallback) const;
  double number(const char* key) const;
  double number(const char* key, double fallback) const;
  std::string text(const char* key, const char* fallback = "") const;
  std::vector<int64_t> integers(const char* key) const;
  std::vector<double> numbers(const char* key) const;

 private:
  const Attribute* find(const char* key) const;
};

// Buffers of one run, in the order of the problem's specs; an absent input is a null pointer. The workspace is
// aligned to 64 bytes, holds Kernel::workspace_bytes bytes and keeps nothing between runs.
struct Arguments {
  const void* const* inputs;
  void* const* outputs;
  void* workspace;
  const void* packed = nullptr;  // what Kernel::pack made; only where packed_bytes > 0

  template <class T = float> const T* in(int i) const { return static_cast<const T*>(inputs[i]); }
  template <class T = float> T* out(int i) const { return static_cast<T*>(outputs[i]); }
};

class Kernel {
 public:
  virtual ~Kernel() = default;
  // May be called from several threads at once; must not change the kernel and must not throw.
  virtual void run(const Arguments& arguments) const = 0;

  // Brings constant weights into the form in which `run` reads them, once and not in every run. Only kernels that were
  // prepared with Problem::constant_weights do so, and those with packed_bytes > 0 must then be given the result.
  virtual void pack(const void* const*, void*) const {}

  size_t workspace_bytes = 0;
  size_t packed_bytes = 0;
  std::string algorithm;  // shown by the plan and COOLNN_VERBOSE, e.g. "winograd_4x4"
};

using KernelPtr = std::unique_ptr<Kernel>;
using Factory = KernelPtr (*)(const Problem&);

// A kernel made from a function object that takes Arguments; most kernels need no class of their own.
template <class F> class FunctionKernel final : public Kernel {
 public:
  FunctionKernel(std::string algorithm_name, F function) : function_(std::move(function)) {
    algorithm = std::move(algorithm_name);
  }
  void run(const Arguments& a) const override { function_(a); }

 private:
  F function_;
};
template <class F> KernelPtr make_function_kernel(std::string algorithm, F function, size_t workspace_bytes = 0) {
  KernelPtr kernel = std::make_unique<FunctionKernel<F>>(std::move(algorithm), std::move(function));
  kernel->workspace_bytes = workspace_bytes;
  return kernel;
}

// Choices that factories look at when they prepare a kernel (see coolnn.options).
struct Options {
  bool winograd = true;
};
Options& options();

// Prepares a kernel; null if this name, these types or these shapes have none (the caller then uses the reference).
KernelPtr make_kernel(const Problem& problem);

// One list a family, each defined beside its factories; kernel.cpp joins them.
struct FamilyEntry {
  const char* name;
  Factory factory;
};
using Family = std::vector<FamilyEntry>;
Family elementwise_family();
Family reduce_family();
Family movement_family();
Family index_family();
Family gemm_family();
Family matmul_update_family();
Family conv_family();
Family conv_backward_family();
Family pool_family();
Family resample_family();
Family normalization_family();
Family softmax_family();
Family dropout_family();
Family optimizer_family();
Family warp_family();
Family affine_family();

}  // namespace coolnn
