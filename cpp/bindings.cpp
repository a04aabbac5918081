// The only file that knows Python: check, release the interpreter lock, call.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "cores.h"
#include "isa.h"
#include "kernel.h"
#include "memory.h"
#include "parallel.h"
#include "plan.h"
#include "probe.h"

namespace nb = nanobind;
using namespace coolnn;

namespace {

// A block of memory with the lifetime of a Python object: from the pool, or borrowed from another object.
class Buffer {
 public:
  explicit Buffer(size_t bytes) : data_(pool_allocate(bytes)), bytes_(bytes) {}
  Buffer(void* data, size_t bytes, bool readonly, nb::object owner)
      : data_(data), bytes_(bytes), readonly_(readonly), owner_(std::move(owner)) {}
  Buffer(Buffer&& other) noexcept
      : data_(other.data_), bytes_(other.bytes_), readonly_(other.readonly_), owner_(std::move(other.owner_)) {
    other.data_ = nullptr;
  }
  Buffer(const Buffer&) = delete;
  ~Buffer() {
    if (data_ != nullptr && !owner_.is_valid()) pool_free(data_);
  }
  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  bool readonly() const { return readonly_; }
  uint64_t version() const { return version_; }
  void touch() const { version_++; }

 private:
  void* data_;
  size_t bytes_;
  mutable uint64_t version_ = 0;  // grows whenever the engine writes to memory that was there before
  bool readonly_ = false;  // memory of a file that was mapped for reading, say
  nb::object owner_;
};

// Borrows the memory of an object with the buffer protocol (a NumPy array); the object lives as long as the Buffer.
Buffer borrow(nb::handle source) {
  Py_buffer view;
  if (PyObject_GetBuffer(source.ptr(), &view, PyBUF_ANY_CONTIGUOUS) != 0) throw nb::python_error();
  Buffer buffer(view.buf, size_t(view.len), view.readonly != 0, nb::borrow(source));
  PyBuffer_Release(&view);
  return buffer;
}

int buffer_get(PyObject* self, Py_buffer* view, int flags) {
  Buffer* buffer = nb::inst_ptr<Buffer>(nb::handle(self));
  return PyBuffer_FillInfo(view, self, buffer->data(), Py_ssize_t(buffer->bytes()), buffer->readonly(), flags);
}
PyType_Slot buffer_slots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(buffer_get)}, {0, nullptr}};

// A number that the engine can hold; Python's whole numbers have no end.
int64_t to_int64(nb::handle value, const std::string& what) {
  int64_t number = 0;
  if (nb::try_cast<int64_t>(value, number)) return number;
  throw nb::value_error((what + ": " + nb::cast<std::string>(nb::str(value)) + " is no number below 2^63").c_str());
}

std::vector<int64_t> to_int64s(const nb::tuple& items, const std::string& what) {
  std::vector<int64_t> numbers;
  for (nb::handle item : items) numbers.push_back(to_int64(item, what));
  return numbers;
}

Attribute to_attribute(nb::handle value, const std::string& name) {
  if (nb::isinstance<nb::bool_>(value)) return int64_t(nb::cast<bool>(value));
  if (nb::isinstance<nb::int_>(value)) return to_int64(value, "attribute " + name);
  if (nb::isinstance<nb::float_>(value)) return nb::cast<double>(value);
  if (nb::isinstance<nb::str>(value)) return nb::cast<std::string>(value);
  if (nb::isinstance<nb::tuple>(value)) {
    const nb::tuple items = nb::cast<nb::tuple>(value);
    for (nb::handle item : items)
      if (nb::isinstance<nb::float_>(item)) return nb::cast<std::vector<double>>(value);
    return to_int64s(items, "attribute " + name);
  }
  throw nb::type_error(("attribute " + name + ": a kernel takes bool, int, float, str or a tuple of numbers").c_str());
}

// A spec comes from Python as (dtype code, shape), an absent input as None.
Spec to_spec(nb::handle value) {
  if (value.is_none()) return Spec();
  const nb::tuple pair = nb::cast<nb::tuple>(value);
  return Spec(DType(nb::cast<int>(pair[0])), to_int64s(nb::cast<nb::tuple>(pair[1]), "a length of a tensor"));
}

// A kernel with what is needed to call it from Python.
struct Prepared {
  std::shared_ptr<const Kernel> kernel;  // shared with the plans that it is a step of
  std::vector<size_t> input_bytes, output_bytes;

  void gather(const nb::tuple& buffers, const std::vector<size_t>& bytes, std::vector<void*>& pointers) const {
    if (buffers.size() != bytes.size()) throw nb::value_error("kernel called with the wrong number of buffers");
    for (size_t i = 0; i < bytes.size(); i++) {
      const nb::handle item = buffers[i];
      if (item.is_none()) {
        if (bytes[i] > 0) throw nb::value_error("kernel called without a buffer that it needs");
        pointers.push_back(nullptr);
        continue;
      }
      const Buffer& buffer = nb::cast<const Buffer&>(item);
      if (buffer.bytes() < bytes[i]) throw nb::value_error("kernel called with a buffer that is too small");
      pointers.push_back(buffer.data());
    }
  }

  // Runs outside of a plan: kernels of packed weights cannot.
  void execute(std::vector<void*>& in, std::vector<void*>& out) const {
    if (kernel->packed_bytes > 0) throw nb::value_error("a kernel of packed weights runs in a plan only");
    const nb::gil_scoped_release release;
    void* workspace = kernel->workspace_bytes > 0 ? pool_allocate(kernel->workspace_bytes) : nullptr;
    kernel->run(Arguments{in.data(), out.data(), workspace});
    if (workspace != nullptr) pool_free(workspace);
  }

  // Runs into fresh buffers.
  nb::tuple run(const nb::tuple& inputs) const {
    std::vector<void*> in, out;
    gather(inputs, input_bytes, in);
    nb::list made;
    for (const size_t bytes : output_bytes) {
      nb::object buffer = nb::cast(Buffer(bytes));
      out.push_back(nb::cast<Buffer&>(buffer).data());
      made.append(buffer);
    }
    execute(in, out);
    return nb::tuple(made);
  }

  // Runs into given buffers, which may be those of the inputs where the operation works in place.
  void run_into(const nb::tuple& inputs, const nb::tuple& outputs) const {
    std::vector<void*> in, out;
    gather(inputs, input_bytes, in);
    gather(outputs, output_bytes, out);
    for (nb::handle output : outputs) {
      const Buffer& buffer = nb::cast<const Buffer&>(output);
      if (buffer.readonly()) throw nb::value_error("a kernel cannot write to read-only memory");
      buffer.touch();
    }
    execute(in, out);
  }

  void pack(const nb::tuple& inputs, const Buffer& packed) const {
    if (packed.bytes() < kernel->packed_bytes) throw nb::value_error("the packed weights need a larger buffer");
    std::vector<void*> in;
    for (size_t i = 0; i < inputs.size(); i++) {
      const nb::handle item = inputs[i];
      const Buffer* buffer = item.is_none() ? nullptr : &nb::cast<const Buffer&>(item);
      if (buffer != nullptr && buffer->bytes() < input_bytes.at(i)) throw nb::value_error("a buffer is too small");
      in.push_back(buffer == nullptr ? nullptr : buffer->data());
    }
    const nb::gil_scoped_release release;
    kernel->pack(in.data(), packed.data());
  }
};

bool& option(const std::string& name) {
  if (name == "winograd") return options().winograd;
  throw nb::value_error(("no option is named " + name).c_str());
}

nb::object prepare(const std::string& name, const nb::dict& attributes, const nb::tuple& inputs, const nb::tuple& outputs,
                   bool constant_weights, bool bf16) {
  Problem problem;
  problem.name = name;
  problem.constant_weights = constant_weights;
  problem.bf16 = bf16 && constant_weights;
  for (auto [key, value] : attributes) {
    const std::string attribute = nb::cast<std::string>(key);
    if (!value.is_none()) problem.attributes.emplace_back(attribute, to_attribute(value, attribute));
  }
  Prepared prepared;
  for (nb::handle spec : inputs) {
    problem.inputs.push_back(to_spec(spec));
    prepared.input_bytes.push_back(problem.inputs.back().present() ? problem.inputs.back().bytes() : 0);
  }
  for (nb::handle spec : outputs) {
    problem.outputs.push_back(to_spec(spec));
    prepared.output_bytes.push_back(problem.outputs.back().bytes());
  }
  prepared.kernel = make_kernel(problem);
  return prepared.kernel ? nb::cast(std::move(prepared)) : nb::none();
}

// A place comes from Python as None, ("arena", offset) or ("external", number).
Place to_place(nb::handle value) {
  if (value.is_none()) return Place();
  const nb::tuple pair = nb::cast<nb::tuple>(value);
  const std::string kind = nb::cast<std::string>(pair[0]);
  if (kind != "arena" && kind != "external") throw nb::value_error(("a place is no " + kind).c_str());
  return Place{kind == "arena" ? Place::arena : Place::external, nb::cast<size_t>(pair[1])};
}

std::vector<Place> to_places(const nb::tuple& values) {
  std::vector<Place> places;
  for (nb::handle value : values) places.push_back(to_place(value));
  return places;
}

void plan_add(Plan& plan, const Prepared& step, const nb::tuple& inputs, const nb::tuple& outputs, size_t workspace,
              nb::handle packed) {
  plan.add(step.kernel, to_places(inputs), step.input_bytes, to_places(outputs), step.output_bytes, workspace,
           to_place(packed));
}

// Runs a plan over an arena and the external buffers, without the interpreter lock; with `timed` gives seconds a step.
std::vector<double> plan_run(const Plan& plan, const Buffer& arena, const nb::tuple& externals, bool timed) {
  if (arena.bytes() < plan.arena_bytes()) throw nb::value_error("the arena is smaller than the plan");
  const std::vector<size_t>& bytes = plan.external_bytes();
  if (externals.size() != bytes.size()) throw nb::value_error("the plan was given the wrong number of buffers");
  std::vector<void*> pointers;
  for (size_t i = 0; i < bytes.size(); i++) {
    const Buffer& buffer = nb::cast<const Buffer&>(externals[i]);
    if (buffer.bytes() < bytes[i]) throw nb::value_error("the plan was given a buffer that is too small");
    pointers.push_back(buffer.data());
  }
  for (const size_t number : plan.written()) nb::cast<const Buffer&>(externals[number]).touch();
  std::vector<double> seconds(timed ? plan.size() : 0);
  const nb::gil_scoped_release release;
  plan.run(arena.data(), pointers.data(), timed ? seconds.data() : nullptr);
  return seconds;
}

}  // namespace

NB_MODULE(_core, m) {
  nb::set_leak_warnings(false);  // caches and users' tensors may live until the interpreter ends
  nb::class_<Buffer>(m, "Buffer", nb::type_slots(buffer_slots))
      .def(nb::init<size_t>(), nb::arg("bytes"))
      .def_static("borrow", &borrow, nb::arg("source"))
      .def_prop_ro("nbytes", &Buffer::bytes)
      .def_prop_ro("version", &Buffer::version)
      .def("touch", &Buffer::touch)
      .def_prop_ro("address", [](const Buffer& b) { return reinterpret_cast<uintptr_t>(b.data()); });
  nb::class_<Prepared>(m, "Kernel")
      .def("run", &Prepared::run, nb::arg("inputs"))
      .def("run_into", &Prepared::run_into, nb::arg("inputs"), nb::arg("outputs"))
      .def_prop_ro("algorithm", [](const Prepared& p) { return p.kernel->algorithm; })
      .def_prop_ro("workspace_bytes", [](const Prepared& p) { return p.kernel->workspace_bytes; })
      .def_prop_ro("packed_bytes", [](const Prepared& p) { return p.kernel->packed_bytes; })
      .def("pack", &Prepared::pack, nb::arg("inputs"), nb::arg("packed"));
  nb::class_<Plan>(m, "Plan")
      .def(nb::init<size_t, std::vector<size_t>>(), nb::arg("arena_bytes"), nb::arg("external_bytes"))
      .def("add", &plan_add, nb::arg("kernel"), nb::arg("inputs"), nb::arg("outputs"), nb::arg("workspace"),
           nb::arg("packed") = nb::none())
      .def("run", &plan_run, nb::arg("arena"), nb::arg("externals"), nb::arg("timed") = false)
      .def_prop_ro("arena_bytes", &Plan::arena_bytes)
      .def("__len__", &Plan::size);
  m.def("prepare", &prepare, nb::arg("name"), nb::arg("attributes"), nb::arg("inputs"), nb::arg("outputs"),
        nb::arg("constant_weights") = false, nb::arg("bf16") = false);
  m.def("has_bf16", [] { return bf16() != nullptr; });
  m.def("isa", [] { return std::string(isa().name); });
  m.def("set_isa", &set_isa, nb::arg("name"));
  m.def("available_isas", &available_isas);
  m.def("get_option", [](const std::string& name) { return int(option(name)); }, nb::arg("name"));
  m.def("set_option", [](const std::string& name, int value) { option(name) = value != 0; }, nb::arg("name"),
        nb::arg("value"));
  m.def("num_threads", &num_threads);
  m.def("set_num_threads", &set_num_threads, nb::arg("n"));
  m.attr("MAX_THREADS") = MAX_THREADS;
  m.def("container_cores", &container_cores, nb::arg("root") = "");
  m.def("measure_fma_peak", &measure_fma_peak, nb::arg("seconds"), nb::call_guard<nb::gil_scoped_release>());
  m.def("measure_fork_join", &measure_fork_join, nb::call_guard<nb::gil_scoped_release>());
  m.def("memory_in_use", &pool_in_use);
  m.def("memory_peak", &pool_peak);
  m.def("memory_kept", &pool_kept);
  m.def("reset_memory_peak", &pool_reset_peak);
  m.def("trim_memory", &pool_trim);
}
