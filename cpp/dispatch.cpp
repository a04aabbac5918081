// Picks one table of kernels: the widest that this processor and its operating system support, or the one that
// COOLNN_ISA names.
#include <cstdlib>
#include <stdexcept>

#include "isa.h"

namespace coolnn {

#define DECLARE(name)          \
  namespace name {             \
  extern const IsaTable table; \
  }
#ifdef COOLNN_HAS_baseline
DECLARE(baseline)
#endif
#ifdef COOLNN_HAS_avx2
DECLARE(avx2)
#endif
#ifdef COOLNN_HAS_avx512
DECLARE(avx512)
#endif
#ifdef COOLNN_HAS_neon
DECLARE(neon)
#endif
#ifdef COOLNN_HAS_avx512bf16
namespace avx512 {
extern const Bf16Table bf16_table;
}
#endif

namespace {

std::vector<const IsaTable*> supported() {
  std::vector<const IsaTable*> tables;
#ifdef COOLNN_HAS_baseline
  tables.push_back(&baseline::table);
#endif
#ifdef COOLNN_HAS_neon
  tables.push_back(&neon::table);
#endif
#ifdef COOLNN_HAS_avx2
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) tables.push_back(&avx2::table);
#endif
#ifdef COOLNN_HAS_avx512
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq"))
    tables.push_back(&avx512::table);
#endif
  return tables;
}

const IsaTable* find(const std::string& name) {
  std::string names;
  for (const IsaTable* table : supported()) {
    if (name == table->name) return table;
    names += std::string(names.empty() ? "" : ", ") + table->name;
  }
  throw std::invalid_argument("instruction set '" + name + "' is not available here; choose one of: " + names);
}

const IsaTable*& current() {
  static const IsaTable* table = [] {
    const char* wanted = std::getenv("COOLNN_ISA");
    return wanted != nullptr && *wanted != '\0' ? find(wanted) : supported().back();
  }();
  return table;
}

}  // namespace

const IsaTable& isa() { return *current(); }
const Bf16Table* bf16() {
#ifdef COOLNN_HAS_avx512bf16
  static const bool has = __builtin_cpu_supports("avx512bf16");
  if (has && &isa() == &avx512::table) return &avx512::bf16_table;
#endif
  return nullptr;
}
void set_isa(const std::string& name) { current() = find(name); }

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const IsaTable* table : supported()) names.push_back(table->name);
  return names;
}

}  // namespace coolnn
