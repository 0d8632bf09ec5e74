// Python's door: NumPy arrays to views, errors to exceptions, the GIL released around the work. The only file that
// includes pybind11.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "conv.h"
#include "cpu.h"
#include "parallel.h"

namespace py = pybind11;

namespace tileconv {
namespace {

constexpr int array_aligned = 0x0100, array_contiguous = 0x0001;  // NumPy's flags

// NumPy writes the machine's own order as '=', or as what it is: after a swap to it, for instance.
bool is_native(const py::dtype& dtype) {
  const std::uint16_t one = 1;
  const char own = *reinterpret_cast<const unsigned char*>(&one) == 1 ? '<' : '>';
  return dtype.byteorder() == '=' || dtype.byteorder() == own;
}

std::string dtype_text(const py::dtype& dtype) {
  const bool swapped = dtype.byteorder() != '|' && !is_native(dtype);
  return swapped ? py::str(dtype.attr("str")) : py::str(static_cast<const py::object&>(dtype));
}

std::string dtype_of(const py::array& array) {
  const py::dtype dtype = array.dtype();
  if (is_native(dtype)) {
    if (dtype.num() == 11) return "float32";
    if (dtype.num() == 12) return "float64";
  }
  return dtype_text(dtype);
}

std::vector<std::int64_t> shape_of(const py::array& array) { return {array.shape(), array.shape() + array.ndim()}; }

py::array as_array(const py::handle& object, const char* name) {
  if (!py::isinstance<py::array>(object))
    throw TypeError(std::string(name) + " must be a numpy.ndarray, got " + Py_TYPE(object.ptr())->tp_name);
  return py::reinterpret_borrow<py::array>(object);
}

template <std::size_t n>
std::array<std::int64_t, n> as_ints(const py::handle& object, const char* name) {
  if (!PyTuple_CheckExact(object.ptr()) || PyTuple_GET_SIZE(object.ptr()) != static_cast<Py_ssize_t>(n))
    throw TypeError(std::string(name) + " must be a tuple of " + std::to_string(n) + " ints, got " +
                    std::string(py::repr(object)));
  std::array<std::int64_t, n> values;
  for (std::size_t i = 0; i < n; ++i) {
    values[i] = PyLong_AsLongLong(PyTuple_GET_ITEM(object.ptr(), static_cast<Py_ssize_t>(i)));
    if (values[i] == -1 && PyErr_Occurred()) throw py::error_already_set();
  }
  return values;
}

struct LayerArguments {
  py::object stride, padding, dilation;
  std::int64_t groups;
  std::string padding_mode;
};

// Everything of ConvArguments but the input.
ConvArguments layer_arguments(const LayerArguments& l, std::vector<std::int64_t> weight_shape) {
  ConvArguments a;
  a.weight_shape = std::move(weight_shape);
  a.stride = as_ints<2>(l.stride, "stride");
  a.dilation = as_ints<2>(l.dilation, "dilation");
  if (PyUnicode_Check(l.padding.ptr())) {
    a.padding_name = l.padding.cast<std::string>();
    if (a.padding_name.empty()) a.padding_name = "(empty)";
  } else {
    a.padding = as_ints<4>(l.padding, "padding");
  }
  a.groups = l.groups;
  a.padding_mode = l.padding_mode;
  return a;
}

void add_arrays(ConvArguments& a, const py::array& input, const py::array& weight, const py::object& bias) {
  a.input_shape = shape_of(input);
  a.input_dtype = dtype_of(input);
  a.weight_dtype = dtype_of(weight);
  a.has_bias = !bias.is_none();
  if (a.has_bias) {
    const py::array array = as_array(bias, "bias");
    a.bias_shape = shape_of(array);
    a.bias_dtype = dtype_of(array);
  }
}

// Weights in the form that plans read: aligned, C-contiguous. A copy only where they are not.
py::array contiguous(const py::array& array) {
  constexpr int wanted = array_aligned | array_contiguous;
  if ((array.flags() & wanted) == wanted) return array;
  return py::module_::import("numpy").attr("require")(array, py::none(), "CA").cast<py::array>();
}

struct MemoryRange {
  const char *begin, *end;
};
MemoryRange memory_range(const py::array& array) {
  const char *begin = static_cast<const char*>(array.data()), *end = begin + array.itemsize();
  for (py::ssize_t d = 0; d < array.ndim(); ++d) {
    if (array.shape(d) == 0) return {begin, begin};
    const py::ssize_t reach = (array.shape(d) - 1) * array.strides(d);
    (reach < 0 ? begin : end) += reach;
  }
  return {begin, end};
}

void refuse_overlap(const py::array& out, const py::array& other, const char* name) {
  const MemoryRange a = memory_range(out), b = memory_range(other);
  if (a.begin >= b.end || b.begin >= a.end) return;
  bool shared = true;
  try {
    constexpr int most_work = 10000;
    shared = py::module_::import("numpy").attr("shares_memory")(out, other, most_work).cast<bool>();
  } catch (const py::error_already_set&) {
    // Too hard to decide within that work: refused like an overlap.
  }
  if (shared) throw ValueError(std::string("out overlaps ") + name + " in memory, expected an array of its own");
}

// Whether two elements of the array share memory: false if, in order of their strides, each axis steps over the last.
bool overlaps_itself(const py::array& array) {
  if (array.size() == 0) return false;
  std::vector<std::pair<py::ssize_t, py::ssize_t>> axes;
  for (py::ssize_t d = 0; d < array.ndim(); ++d)
    if (array.shape(d) > 1) axes.emplace_back(std::abs(array.strides(d)), array.shape(d));
  std::sort(axes.begin(), axes.end());
  py::ssize_t reach = array.itemsize();
  for (const auto& [stride, size] : axes) {
    if (stride < reach) return true;
    reach += stride * (size - 1);
  }
  return false;
}

py::array check_out(const py::object& object, const ConvProblem& p) {
  py::array out = as_array(object, "out");
  if (dtype_of(out) != dtype_name(p.dtype))
    throw TypeError("out must have the other arrays' dtype " + std::string(dtype_name(p.dtype)) + ", got " +
                    dtype_of(out));
  if (shape_of(out) != p.result_shape())
    throw ValueError("out must have the result's shape " + format_shape(p.result_shape()) + ", got " +
                     format_shape(shape_of(out)));
  if (!out.writeable()) throw ValueError("out must be writable, got a read-only array");
  if (overlaps_itself(out)) throw ValueError("out must not overlap itself in memory, got strides that do");
  return out;
}

// A new array. NumPy aligns memory to 16 bytes; large results begin at a cache line, as every vector stored across two
// of them costs two stores, and half a page from the place in it of what is `read`: loads wait for stores in flight
// with the same last 12 bits of the address, and with rows of 1024 pixels all would meet (a 3x3 filter took three times
// as long). Then the array is a view of one that is a page longer.
py::array new_array(const ConvProblem& p, const char* read) {
  const py::dtype dtype = p.dtype == DType::float32 ? py::dtype::of<float>() : py::dtype::of<double>();
  const std::vector<std::int64_t> shape = p.result_shape();
  constexpr std::uintptr_t line = 64, page = 4096;
  constexpr double least_bytes = 1 << 16, most_bytes = 1e15;
  double bytes = static_cast<double>(dtype.itemsize());
  for (const std::int64_t size : shape) bytes *= static_cast<double>(size);
  if (bytes < least_bytes || bytes > most_bytes) return py::array(dtype, shape);
  try {
    py::array_t<char> memory(static_cast<py::ssize_t>(bytes) + static_cast<py::ssize_t>(page));
    const std::uintptr_t place = reinterpret_cast<std::uintptr_t>(read) / line * line + page / 2;
    const std::uintptr_t before = (place - reinterpret_cast<std::uintptr_t>(memory.data())) % page;
    return py::array(dtype, shape, memory.mutable_data() + before, memory);
  } catch (const py::error_already_set&) {
    return py::array(dtype, shape);  // too large: NumPy says so in terms of the result
  }
}

// Plans write whole elements where they are; the gradient of weights, like weights, is contiguous.
bool writable_in_place(const py::array& out, Pass pass) {
  const int wanted = pass == Pass::weight_gradient ? array_aligned | array_contiguous : array_aligned;
  bool whole = (out.flags() & wanted) == wanted;
  for (py::ssize_t d = 0; d < out.ndim(); ++d) whole = whole && out.strides(d) % out.itemsize() == 0;
  return whole;
}

void set_strides(std::ptrdiff_t (&to)[4], const py::array& array) {
  const py::ssize_t first = 4 - array.ndim();
  for (py::ssize_t d = 0; d < array.ndim(); ++d) to[first + d] = array.strides(d);
  // That of a single column may be anything; a plan may take the rows for columns.
  if (array.ndim() > 0 && array.shape(array.ndim() - 1) == 1) to[3] = array.itemsize();
}

// The arrays of one call, alive until it ends, and their views.
struct Call {
  ConvProblem problem;  // of the views
  py::object input, weight, bias, grad_output;
  py::array out;  // not made by default: NumPy makes an array then, which is a tenth of a tiny call
  bool copied;    // to the array that was given, in the end: that one cannot be written itself
  ConvViews views;

  // input, weight, bias, grad_output as ConvViews has them for the pass; None for those it does not have. The caller
  // calls the first `input_name`.
  Call(const ConvProblem& p, py::object input_array, const py::object& weight_array, const py::object& bias_array,
       py::object grad_array, const py::object& given, const char* input_name = "input")
      : problem(p),
        input(std::move(input_array)),
        grad_output(std::move(grad_array)),
        out(given.is_none() ? new_array(problem, data(input)) : check_out(given, problem)),
        copied(!given.is_none() && !writable_in_place(out, problem.pass)) {
    if (!given.is_none()) {
      const std::pair<const char*, const py::object*> arrays[] = {
          {input_name, &input}, {"weight", &weight_array}, {"bias", &bias_array}, {"grad_output", &grad_output}};
      for (const auto& [name, array] : arrays)
        if (!array->is_none()) refuse_overlap(out, py::reinterpret_borrow<py::array>(*array), name);
    }
    if (copied) out = new_array(problem, data(input));
    weight = weight_array.is_none() ? weight_array : contiguous(py::reinterpret_borrow<py::array>(weight_array));
    bias = bias_array.is_none() ? bias_array : contiguous(py::reinterpret_borrow<py::array>(bias_array));
    views.input = view(input, views.input_stride);
    views.grad_output = view(grad_output, views.grad_output_stride);
    views.weight = data(weight);
    views.bias = data(bias);
    views.out = static_cast<char*>(out.mutable_data());
    set_strides(views.out_stride, out);
    join_pixels(problem, views);
  }

  py::array result(const py::object& given) {
    if (given.is_none()) return std::move(out);
    auto target = py::reinterpret_borrow<py::array>(given);
    if (copied && target.size() > 0) target[py::ellipsis()] = out;
    return target;
  }

 private:
  static const char* data(const py::object& array) {
    return array.is_none() ? nullptr : static_cast<const char*>(py::reinterpret_borrow<py::array>(array).data());
  }
  static const char* view(const py::object& array, std::ptrdiff_t (&strides)[4]) {
    if (!array.is_none()) set_strides(strides, py::reinterpret_borrow<py::array>(array));
    return data(array);
  }
};

py::array run(Call&& call, const std::string& algorithm, const py::object& out) {
  {
    const py::gil_scoped_release release;
    run_once(call.problem, call.views, algorithm);
  }
  return call.result(out);
}

py::array conv2d(const py::object& input, const py::object& weight, const py::object& bias, const py::object& stride,
                 const py::object& padding, const py::object& dilation, std::int64_t groups,
                 const std::string& padding_mode, const py::object& out, const std::string& algorithm) {
  const py::array input_array = as_array(input, "input"), weight_array = as_array(weight, "weight");
  ConvArguments a = layer_arguments({stride, padding, dilation, groups, padding_mode}, shape_of(weight_array));
  add_arrays(a, input_array, weight_array, bias);
  return run(Call(ConvProblem::make(a), input_array, weight_array, bias, py::none(), out), algorithm, out);
}

py::array conv2d_input(const py::object& input_size, const py::object& weight, const py::object& grad_output,
                       const py::object& stride, const py::object& padding, const py::object& dilation,
                       std::int64_t groups, const std::string& padding_mode, const py::object& out,
                       const std::string& algorithm) {
  const py::array weight_array = as_array(weight, "weight"), grad_array = as_array(grad_output, "grad_output");
  ConvArguments a = layer_arguments({stride, padding, dilation, groups, padding_mode}, shape_of(weight_array));
  a.pass = Pass::input_gradient;
  a.input_shape = input_size.cast<std::vector<std::int64_t>>();
  a.weight_dtype = dtype_of(weight_array);
  a.grad_output_shape = shape_of(grad_array);
  a.grad_output_dtype = dtype_of(grad_array);
  return run(Call(ConvProblem::make(a), grad_array, weight_array, py::none(), py::none(), out, "grad_output"),
             algorithm, out);
}

py::array conv2d_weight(const py::object& input, const py::object& weight_size, const py::object& grad_output,
                        const py::object& stride, const py::object& padding, const py::object& dilation,
                        std::int64_t groups, const std::string& padding_mode, const py::object& out,
                        const std::string& algorithm) {
  const py::array input_array = as_array(input, "input"), grad_array = as_array(grad_output, "grad_output");
  ConvArguments a =
      layer_arguments({stride, padding, dilation, groups, padding_mode}, weight_size.cast<std::vector<std::int64_t>>());
  a.pass = Pass::weight_gradient;
  a.input_shape = shape_of(input_array);
  a.input_dtype = dtype_of(input_array);
  a.grad_output_shape = shape_of(grad_array);
  a.grad_output_dtype = dtype_of(grad_array);
  return run(Call(ConvProblem::make(a), input_array, py::none(), py::none(), grad_array, out), algorithm, out);
}

py::array conv_transpose2d(const py::object& input, const py::object& weight, const py::object& bias,
                           const py::object& stride, const py::object& padding, const py::object& output_padding,
                           std::int64_t groups, const py::object& dilation, const py::object& out,
                           const std::string& algorithm) {
  const py::array input_array = as_array(input, "input"), weight_array = as_array(weight, "weight");
  ConvArguments a = layer_arguments({stride, padding, dilation, groups, "zeros"}, shape_of(weight_array));
  add_arrays(a, input_array, weight_array, bias);
  const ConvProblem problem = ConvProblem::make_transposed(a, as_ints<2>(output_padding, "output_padding"));
  return run(Call(problem, input_array, weight_array, bias, py::none(), out), algorithm, out);
}

class FrozenConv2d {
 public:
  FrozenConv2d(const py::object& weight, py::object bias, const py::object& stride, const py::object& padding,
               const py::object& dilation, std::int64_t groups, const std::string& padding_mode)
      : weight_(contiguous(as_array(weight, "weight"))), bias_(std::move(bias)) {
    if (!bias_.is_none()) bias_ = contiguous(as_array(bias_, "bias"));
    arguments_ = layer_arguments({stride, padding, dilation, groups, padding_mode}, shape_of(weight_));
  }

  py::array run(const py::object& input, const py::object& out, const std::string& algorithm) {
    const py::array input_array = as_array(input, "input");
    Call call(problem_of(input_array), input_array, weight_, bias_, py::none(), out);
    const PlanRequest request = make_request(call.problem, Layout::of(call.problem, call.views), true);
    FrozenPlans::Kept entry = plans_.find(request, algorithm);
    if (!entry) {
      const std::vector<FrozenPlans::Kept> kept = plans_.kept();
      FrozenPlans::Entry made;
      {
        const py::gil_scoped_release release;
        made = FrozenPlans::make(request, algorithm, call.views, kept);
      }
      entry = plans_.keep(std::move(made));
    }
    {
      const py::gil_scoped_release release;
      entry->plan->run(call.views, entry->packed_data());
      release_large_arenas();
    }
    return call.result(out);
  }

 private:
  // That of the last input, if this one is like it: checking all arguments again would take a tenth of a tiny call.
  const ConvProblem& problem_of(const py::array& input) {
    const bool like = last_dtype_.is(input.dtype()) &&
                      std::equal(last_shape_.begin(), last_shape_.end(), input.shape(), input.shape() + input.ndim());
    if (!like) {
      ConvArguments a = arguments_;
      add_arrays(a, input, weight_, bias_);
      last_problem_ = ConvProblem::make(a);
      last_dtype_ = input.dtype();
      last_shape_ = shape_of(input);
    }
    return last_problem_;
  }

  py::array weight_;
  py::object bias_;
  ConvArguments arguments_;
  FrozenPlans plans_;
  py::object last_dtype_;  // guarded, as what follows, by Python's lock
  std::vector<std::int64_t> last_shape_;
  ConvProblem last_problem_;
};

// Strides of arrays in C order.
ConvViews contiguous_views(const ConvProblem& p) {
  const auto set = [&](std::ptrdiff_t (&stride)[4], const std::vector<std::int64_t>& shape) {
    auto next = static_cast<std::size_t>(dtype_size(p.dtype));  // which may overflow
    for (std::size_t d = 0; d < shape.size(); ++d) {
      stride[3 - d] = static_cast<std::ptrdiff_t>(next);
      next *= static_cast<std::size_t>(shape[shape.size() - 1 - d]);
    }
  };
  ConvViews views;
  set(views.input_stride, p.pass == Pass::input_gradient ? p.output_shape() : p.input_shape());
  set(views.grad_output_stride, p.output_shape());
  set(views.out_stride, p.result_shape());
  return views;
}

Pass parse_pass(const std::string& name) {
  for (const Pass pass : {Pass::forward, Pass::input_gradient, Pass::weight_gradient})
    if (name == pass_name(pass)) return pass;
  throw ValueError("pass_ must be 'forward', 'input_gradient' or 'weight_gradient', got '" + name + "'");
}

py::dict explain(const std::vector<std::int64_t>& input_shape, const std::vector<std::int64_t>& weight_shape,
                 bool has_bias, const py::object& stride, const py::object& padding, const py::object& dilation,
                 std::int64_t groups, const std::string& padding_mode, const py::dtype& dtype,
                 const std::string& algorithm, bool frozen, const std::string& pass) {
  ConvArguments a = layer_arguments({stride, padding, dilation, groups, padding_mode}, weight_shape);
  a.input_shape = input_shape;
  a.input_dtype = a.weight_dtype = dtype_text(dtype);
  a.has_bias = has_bias;
  if (has_bias) a.bias_shape = {weight_shape.empty() ? 0 : weight_shape[0]};
  ConvProblem problem = ConvProblem::make(a);
  problem.pass = parse_pass(pass);
  ConvProblem joined = problem;
  ConvViews views = contiguous_views(problem);
  join_pixels(joined, views);
  const PlanRequest request = make_request(joined, Layout::of(joined, views), frozen);
  const Choice choice = choose(request, algorithm, true);
  const PlanReport report = choice.plan->report();
  py::dict blocking, rejected, result;
  for (const auto& [name, value] : report.blocking) blocking[name.c_str()] = value;
  for (const auto& [name, reason] : choice.rejected) rejected[name.c_str()] = reason;
  result["pass"] = pass_name(problem.pass);
  result["problem"] = problem.describe();
  result["output_shape"] = py::tuple(py::cast(problem.result_shape()));
  result["algorithm"] = choice.algorithm->name;
  result["kernel"] = report.kernel;
  result["isa"] = request.kernels->isa;
  result["threads"] = report.threads;
  result["blocking"] = blocking;
  result["workspace_bytes"] = choice.plan->workspace_bytes();
  result["packed_bytes"] = choice.plan->packed_bytes();
  result["accuracy"] = choice.algorithm->accuracy;
  result["rejected"] = rejected;
  return result;
}

std::vector<std::string> isa_names() {
  std::vector<std::string> names;
  for (const KernelTable* table : available_kernels()) names.emplace_back(table->isa);
  return names;
}

std::vector<std::string> algorithm_names() {
  std::vector<std::string> names;
  for (int i = 0; i < algorithm_count; ++i) names.emplace_back(algorithms[i]->name);
  return names;
}

py::dict config() {
  const CoreTraits& traits = core_traits();
  py::dict cache, result;
  cache["l1d"] = traits.l1d;
  cache["l2"] = traits.l2;
  cache["l3"] = traits.l3;
  result["version"] = TILECONV_VERSION;
  result["isa"] = active_kernels().isa;
  result["isas"] = isa_names();
  result["cpu"] = cpu_name();
  result["cores"] = available_cores();
  result["threads"] = num_threads();
  result["cache_bytes"] = cache;
  result["compiler"] = TILECONV_COMPILER;
  result["build_type"] = TILECONV_BUILD_TYPE;
  result["algorithms"] = algorithm_names();
  return result;
}

template <class T>
double measure_fma_peak(double seconds) {
  const KernelSet<T>& set = kernel_set<T>(active_kernels());
  using Clock = std::chrono::steady_clock;
  constexpr std::int64_t iterations = 100000;
  const double flops = 2.0 * static_cast<double>(iterations) * set.fma_per_iteration * set.lanes;
  double best = 0, spent = 0;
  while (spent < seconds || best == 0) {
    const auto start = Clock::now();
    set.fma_loop(iterations);
    const double elapsed = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::max(best, flops / elapsed * 1e-9);
    spent += elapsed;
  }
  return best;
}

double fma_peak(const py::dtype& dtype, double seconds) {
  const std::string name = dtype_text(dtype);
  if (name != "float32" && name != "float64") throw TypeError("dtype must be float32 or float64, got " + name);
  const py::gil_scoped_release release;
  return name == "float32" ? measure_fma_peak<float>(seconds) : measure_fma_peak<double>(seconds);
}

void checked_set_num_threads(std::int64_t n) {
  if (n < 1 || n > most_threads)
    throw ValueError("n must be a number of threads from 1 to " + std::to_string(most_threads) + ", got " +
                     std::to_string(n));
  set_num_threads(static_cast<int>(n));
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  m.doc() = "The compiled core of tileconv; see _core.pyi.";
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const TypeError& e) {
      PyErr_SetString(PyExc_TypeError, e.what());
    }
  });
  active_kernels();  // a wrong TILECONV_ISA is told at import

  m.def("conv2d", &conv2d);
  m.def("conv2d_input", &conv2d_input);
  m.def("conv2d_weight", &conv2d_weight);
  m.def("conv_transpose2d", &conv_transpose2d);
  py::class_<FrozenConv2d>(m, "FrozenConv2d")
      .def(py::init<const py::object&, py::object, const py::object&, const py::object&, const py::object&,
                    std::int64_t, const std::string&>())
      .def("run", &FrozenConv2d::run, py::arg("input"), py::arg("out") = py::none(), py::arg("algorithm") = "auto");
  m.def("explain", &explain);
  m.def("get_num_threads", &num_threads);
  m.def("set_num_threads", &checked_set_num_threads);
  m.def("algorithms", &algorithm_names);
  m.def("isas", &isa_names);
  m.def("get_isa", [] { return std::string(active_kernels().isa); });
  m.def("set_isa", &set_active_kernels);
  m.def("config", &config);
  m.def("fma_peak", &fma_peak);
}

}  // namespace tileconv
