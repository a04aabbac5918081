// Runs the engine on problems with known answers, without Python: for processors that are only emulated here.
//
// usage: run_cases FILE [THREADS [ISA...]]
//
// tests/kernel_cases.py writes FILE. Each problem is prepared anew with free and with constant (packed) weights, on
// the instruction sets named (all that this processor has) and with 1 to THREADS (3) threads. Buffers lie between guard
// zones and are aligned to 16 bytes only. Values must be within the problem's tolerance, and the same bits on any number
// of threads.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>

#include "isa.h"
#include "kernel.h"
#include "parallel.h"

using namespace coolnn;

namespace {

using Bytes = std::vector<char>;
constexpr size_t GUARD = 80;  // bytes on either side of a buffer

struct Expected {
  int64_t in_place;  // the input whose buffer this output shares, or -1
  double tolerance;  // of max|error| / max|expected|, where the output is real
  Bytes content;     // float64 for real outputs, else of the output's type
};

struct Case {
  std::string family;
  Problem problem;
  bool winograd;
  std::vector<Bytes> inputs;
  std::vector<Expected> outputs;
};

// --- reading ---------------------------------------------------------------------------------------------------------

// Reads what tests/kernel_cases.py wrote: numbers of eight bytes each, texts and arrays behind their length.
class Reader {
 public:
  explicit Reader(const char* path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error(std::string("cannot read ") + path);
    content_.assign(std::istreambuf_iterator<char>(file), {});
    if (text() != "coolnn cases 1") throw std::runtime_error(std::string(path) + " is no file of cases");
  }
  bool end() const { return at_ == content_.size(); }

  int64_t integer() { return number<int64_t>(); }
  double real() { return number<double>(); }
  std::string text() {
    const size_t n = size_t(integer());
    const char* p = take(n);
    return std::string(p, n);
  }
  Bytes bytes() {
    const size_t n = size_t(integer());
    const char* p = take(n);
    return Bytes(p, p + n);
  }
  template <class T> std::vector<T> list() {
    const int64_t n = integer();
    std::vector<T> values;
    values.resize(size_t(n));
    for (T& value : values) value = number<T>();
    return values;
  }

 private:
  const char* take(size_t n) {
    if (n > content_.size() - at_) throw std::runtime_error("the file of cases ends too early");
    at_ += n;
    return content_.data() + at_ - n;
  }
  template <class T> T number() {
    static_assert(sizeof(T) == 8, "all numbers in the file have eight bytes");
    T value;
    std::memcpy(&value, take(8), 8);
    return value;
  }

  Bytes content_;
  size_t at_ = 0;
};

Attribute read_attribute(Reader& in) {
  const std::string kind = in.text();
  if (kind == "int") return in.integer();
  if (kind == "float") return in.real();
  if (kind == "str") return in.text();
  if (kind == "ints") return in.list<int64_t>();
  if (kind == "floats") return in.list<double>();
  throw std::runtime_error("unknown kind of attribute: " + kind);
}

Spec read_spec(Reader& in) {
  const DType dtype = DType(in.integer());
  return Spec(dtype, in.list<int64_t>());
}

Case read_case(Reader& in) {
  Case c;
  c.family = in.text();
  c.problem.name = in.text();
  c.winograd = in.integer() != 0;
  for (int64_t n = in.integer(); n > 0; n--) {
    std::string key = in.text();
    c.problem.attributes.emplace_back(std::move(key), read_attribute(in));
  }
  for (int64_t n = in.integer(); n > 0; n--) {
    const bool present = in.integer() != 0;
    c.problem.inputs.push_back(present ? read_spec(in) : Spec());
    c.inputs.push_back(present ? in.bytes() : Bytes());
  }
  for (int64_t n = in.integer(); n > 0; n--) {
    c.problem.outputs.push_back(read_spec(in));
    const int64_t in_place = in.integer();
    const double tolerance = in.real();
    c.outputs.push_back({in_place, tolerance, in.bytes()});
  }
  return c;
}

std::vector<Case> read_cases(const char* path) {
  Reader in(path);
  std::vector<Case> cases;
  while (!in.end()) cases.push_back(read_case(in));
  return cases;
}

// --- running ---------------------------------------------------------------------------------------------------------

// A buffer between two guard zones, filled with NaN.
class Guarded {
 public:
  Guarded(size_t bytes, size_t alignment, size_t offset = 0) : bytes_(bytes), raw_(bytes + 2 * GUARD + 128, char(0xFF)) {
    const size_t address = reinterpret_cast<size_t>(raw_.data()) + GUARD;
    start_ = GUARD + (alignment - address % alignment) % alignment + offset;
  }
  Guarded(size_t bytes, const Bytes& content) : Guarded(bytes, 64, 16) {
    if (content.size() != bytes) throw std::runtime_error("an array has another size than its spec");
    std::copy(content.begin(), content.end(), data());
  }
  char* data() { return raw_.data() + start_; }
  Bytes content() { return Bytes(data(), data() + bytes_); }
  bool intact() const {
    const auto untouched = [](char c) { return c == char(0xFF); };
    return std::all_of(raw_.begin(), raw_.begin() + long(start_), untouched) &&
           std::all_of(raw_.begin() + long(start_ + bytes_), raw_.end(), untouched);
  }

 private:
  size_t bytes_, start_;
  Bytes raw_;
};

// What is wrong with an output, or nothing.
std::string difference(const Spec& spec, const Bytes& got, const Expected& want) {
  if (spec.dtype != DType::f32) return got == want.content ? "" : "other bits than expected";
  const float* a = reinterpret_cast<const float*>(got.data());
  const double* b = reinterpret_cast<const double*>(want.content.data());
  double largest = 0, error = 0;
  for (int64_t i = 0; i < spec.elements(); i++) {
    if (std::isfinite(b[i])) {
      if (!std::isfinite(a[i])) return "infinite or NaN at element " + std::to_string(i);
      largest = std::max(largest, std::fabs(b[i]));
      error = std::max(error, std::fabs(double(a[i]) - b[i]));
    } else if (std::isnan(b[i]) ? !std::isnan(a[i]) : double(a[i]) != b[i]) {
      return "not infinite or NaN at element " + std::to_string(i);
    }
  }
  if (error <= want.tolerance * (largest > 0 ? largest : 1)) return "";
  char text[120];
  std::snprintf(text, sizeof text, "error %.3g where the largest number is %.3g (tolerance %.3g)", error, largest,
                want.tolerance);
  return text;
}

// Runs a kernel once and gives its outputs; `complaint` tells what went wrong.
std::vector<Bytes> run_once(const Case& c, const Kernel& kernel, std::string& complaint) {
  std::vector<Guarded> inputs, fresh;
  std::vector<const void*> in;
  std::vector<void*> out;
  inputs.reserve(c.inputs.size());
  fresh.reserve(c.outputs.size());
  for (size_t i = 0; i < c.inputs.size(); i++) {
    const Spec& spec = c.problem.inputs[i];
    inputs.emplace_back(spec.present() ? spec.bytes() : 0, c.inputs[i]);
    in.push_back(spec.present() ? inputs.back().data() : nullptr);
  }
  std::vector<Guarded*> outputs;
  for (size_t i = 0; i < c.outputs.size(); i++) {
    const int64_t shared = c.outputs[i].in_place;
    if (shared < 0) fresh.emplace_back(c.problem.outputs[i].bytes(), 64, 16);
    outputs.push_back(shared < 0 ? &fresh.back() : &inputs.at(size_t(shared)));
    out.push_back(outputs.back()->data());
  }
  Guarded workspace(kernel.workspace_bytes, 64), packed(kernel.packed_bytes, 64);
  if (kernel.packed_bytes > 0) {
    kernel.pack(in.data(), packed.data());
    in.at(1) = nullptr;  // as in a plan: only the packed form is read
  }
  kernel.run(Arguments{in.data(), out.data(), workspace.data(), kernel.packed_bytes > 0 ? packed.data() : nullptr});
  std::vector<Bytes> results;
  for (Guarded* output : outputs) {
    results.push_back(output->content());
    if (!output->intact()) complaint = "wrote outside an output";
  }
  for (size_t i = 0; i < inputs.size(); i++) {
    const bool is_output = std::find(outputs.begin(), outputs.end(), &inputs[i]) != outputs.end();
    if (!inputs[i].intact()) complaint = "wrote outside an input";
    if (!is_output && inputs[i].content() != c.inputs[i]) complaint = "changed input " + std::to_string(i);
  }
  if (!workspace.intact()) complaint = "wrote outside its workspace";
  if (!packed.intact()) complaint = "wrote outside its packed weights";
  return results;
}

struct Tally {
  int cases = 0, runs = 0, failures = 0;
  double seconds = 0;
};

std::string describe(const Case& c) {
  std::string text = c.problem.name;
  const auto add = [&](const Spec& spec) {
    text += " [";
    for (int i = 0; i < spec.rank; i++) text += (i > 0 ? "," : "") + std::to_string(spec.shape[i]);
    text += spec.present() ? "]" : "none]";
  };
  for (const Spec& spec : c.problem.inputs) add(spec);
  text += " ->";
  for (const Spec& spec : c.problem.outputs) add(spec);
  return text;
}

class Runner {
 public:
  explicit Runner(std::vector<Case> cases) : cases_(std::move(cases)), first_(2 * cases_.size()) {}

  // All cases on one instruction set; gives the number of failures.
  int run(const std::string& name, int most_threads) {
    set_isa(name);
    std::map<std::string, Tally> tallies;
    for (int threads = 1; threads <= most_threads; threads++) {
      set_num_threads(threads);
      for (size_t i = 0; i < cases_.size(); i++) run_case(i, name, threads, tallies[cases_[i].family]);
    }
    int failures = 0;
    for (const auto& [family, tally] : tallies) {
      std::printf("%-8s  %-14s %5d cases %6d runs %6.1f s %s\n", name.c_str(), family.c_str(), tally.cases, tally.runs,
                  tally.seconds, tally.failures > 0 ? (std::to_string(tally.failures) + " FAILED").c_str() : "ok");
      failures += tally.failures;
    }
    return failures;
  }

 private:
  void run_case(size_t index, const std::string& isa_name, int threads, Tally& tally) {
    const Case& c = cases_[index];
    options().winograd = c.winograd;
    const auto start = std::chrono::steady_clock::now();
    if (threads == 1) tally.cases++;
    for (const bool constant : {false, true}) {
      Problem problem = c.problem;
      problem.constant_weights = constant;
      std::string complaint, algorithm = "no kernel";
      try {
        const KernelPtr kernel = make_kernel(problem);
        if (kernel == nullptr) {
          complaint = "no kernel";
        } else if (constant && kernel->packed_bytes == 0) {
          break;  // the same as with free weights
        } else {
          algorithm = kernel->algorithm;
          const std::vector<Bytes> got = run_once(c, *kernel, complaint);
          tally.runs++;
          if (complaint.empty()) complaint = judge(c, got, first_[2 * index + constant], threads);
        }
      } catch (const std::exception& error) {
        complaint = error.what();
      }
      if (complaint.empty()) continue;
      tally.failures++;
      std::printf("FAILED %s, %s, %s, %d threads%s: %s\n", isa_name.c_str(), describe(c).c_str(), algorithm.c_str(),
                  threads, constant ? ", packed" : "", complaint.c_str());
    }
    tally.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  // With one thread values count, with more the bits of the first run.
  static std::string judge(const Case& c, const std::vector<Bytes>& got, std::vector<Bytes>& first, int threads) {
    if (threads > 1) return got == first ? "" : "other bits than with one thread";
    first = got;
    for (size_t i = 0; i < got.size(); i++) {
      const std::string wrong = difference(c.problem.outputs[i], got[i], c.outputs[i]);
      if (!wrong.empty()) return "output " + std::to_string(i) + ": " + wrong;
    }
    return "";
  }

  std::vector<Case> cases_;
  std::vector<std::vector<Bytes>> first_;  // outputs with one thread; for each case with free and with constant weights
};

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) return std::fprintf(stderr, "usage: run_cases FILE [THREADS [ISA...]]\n"), 2;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // so that what was found is seen when an emulator gives up
  const int threads = count > 2 ? std::atoi(arguments[2]) : 3;
  std::vector<std::string> isas(arguments + std::min(count, 3), arguments + count);
  if (isas.empty()) isas = available_isas();
  try {
    Runner runner(read_cases(arguments[1]));
    int failures = 0;
    for (const std::string& name : isas) failures += runner.run(name, threads);
    std::printf(failures > 0 ? "%d failures\n" : "all cases passed\n", failures);
    return failures > 0 ? 1 : 0;
  } catch (const std::exception& error) {
    return std::fprintf(stderr, "run_cases: %s\n", error.what()), 2;
  }
}
