#include "kernel.h"

#include <unordered_map>

namespace coolnn {

size_t dtype_bytes(DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::i32: return 4;
    case DType::f64:
    case DType::i64: return 8;
    case DType::u8:
    case DType::boolean: return 1;
  }
  return 0;
}

namespace {
// Lengths of 0 count as 1: strides must not overflow either.
void check_size(DType dtype, const std::vector<int64_t>& shape) {
  int64_t room = MAX_BYTES / int64_t(dtype_bytes(dtype) > 0 ? dtype_bytes(dtype) : 1);
  bool fits = true, negative = false;
  std::string text;
  for (const int64_t n : shape) {
    negative = negative || n < 0;
    room /= n > 1 ? n : 1;
    fits = fits && room > 0;
    text += (text.empty() ? "" : ", ") + std::to_string(n);
  }
  if (negative) throw std::invalid_argument("a tensor cannot have the shape (" + text + "): a length is negative");
  if (!fits) throw std::invalid_argument("a tensor of shape (" + text + ") is larger than any memory; make it smaller");
}
}  // namespace

Spec::Spec(DType dtype_, const std::vector<int64_t>& shape_) : dtype(dtype_), rank(int(shape_.size())) {
  if (shape_.size() > size_t(MAX_RANK))
    throw std::invalid_argument("a tensor has at most 8 axes, not " + std::to_string(shape_.size()));
  check_size(dtype, shape_);
  for (int i = 0; i < rank; i++) shape[i] = shape_[size_t(i)];
  int order[MAX_RANK];  // slowest axis first
  for (int i = 0; i < rank; i++) order[i] = i;
  if (rank == 4) order[1] = 2, order[2] = 3, order[3] = 1;
  int64_t step = 1;
  for (int i = rank - 1; i >= 0; i--) {
    stride[order[i]] = step;
    step *= shape[order[i]];
  }
}

int64_t Spec::elements() const {
  int64_t n = 1;
  for (int i = 0; i < rank; i++) n *= shape[i];
  return n;
}

const Attribute* Problem::find(const char* key) const {
  for (const auto& [name, value] : attributes)
    if (name == key) return &value;
  return nullptr;
}

namespace {
template <class T> const T& typed(const Problem& problem, const char* key, const Attribute* value) {
  if (value == nullptr) throw std::invalid_argument(problem.name + ": attribute " + key + " is missing");
  if (const T* typed_value = std::get_if<T>(value)) return *typed_value;
  throw std::invalid_argument(problem.name + ": attribute " + key + " has the wrong type");
}
}  // namespace

int64_t Problem::integer(const char* key) const { return typed<int64_t>(*this, key, find(key)); }
int64_t Problem::integer(const char* key, int64_t fallback) const { return find(key) ? integer(key) : fallback; }
double Problem::number(const char* key) const {
  const Attribute* value = find(key);
  if (value != nullptr)
    if (const int64_t* whole = std::get_if<int64_t>(value)) return double(*whole);
  return typed<double>(*this, key, value);
}
double Problem::number(const char* key, double fallback) const { return find(key) ? number(key) : fallback; }
std::string Problem::text(const char* key, const char* fallback) const {
  return find(key) ? typed<std::string>(*this, key, find(key)) : fallback;
}
std::vector<int64_t> Problem::integers(const char* key) const {
  return typed<std::vector<int64_t>>(*this, key, find(key));
}

std::vector<double> Problem::numbers(const char* key) const {
  const Attribute* value = find(key);
  if (value != nullptr)
    if (const auto* whole = std::get_if<std::vector<int64_t>>(value)) return {whole->begin(), whole->end()};
  return typed<std::vector<double>>(*this, key, value);
}

Options& options() {
  static Options current;
  return current;
}

KernelPtr make_kernel(const Problem& problem) {
  static const std::unordered_map<std::string, Factory> factories = [] {
    std::unordered_map<std::string, Factory> all;
    for (const Family& family :
         {elementwise_family(), reduce_family(), movement_family(), index_family(), gemm_family(),
          matmul_update_family(), conv_family(), conv_backward_family(), pool_family(), resample_family(),
          normalization_family(), softmax_family(), dropout_family(), optimizer_family(), warp_family(),
          affine_family()})
      for (const FamilyEntry& entry : family) all.emplace(entry.name, entry.factory);
    return all;
  }();
  const auto found = factories.find(problem.name);
  return found == factories.end() ? nullptr : found->second(problem);
}

}  // namespace coolnn
