// The extension module caffe._caffe: process-wide settings, errors, blobs.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "common/base/logging.h"
#include "worker/python/bindings.h"

namespace cssp::python {

// ---- errors ----

absl::Status Pending(py::error_already_set& error) {
  const std::string text = OneLine(error, "");
  error.restore();
  return absl::AbortedError(text);
}

std::string OneLine(const py::error_already_set& error,
                    const std::string& module) {
  try {
    const py::object trace =
        error.trace() ? py::object(error.trace()) : py::none();
    return py::module_::import("caffe.errors")
        .attr("one_line")(error.value(), trace, module)
        .cast<std::string>();
  } catch (py::error_already_set&) {  // its own __str__ raises
    return py::str(py::type::handle_of(error.value()).attr("__name__"));
  }
}

void SetPlace(int rank, int workers) {
  const py::module_ caffe = py::module_::import("caffe.pycaffe");
  caffe.attr("set_solver_rank")(rank);
  caffe.attr("set_solver_count")(workers);
}

void ThrowIfError(const absl::Status& status) {
  if (status.ok()) return;
  if (PyErr_Occurred() != nullptr) {
    py::error_already_set error;
    const std::string note(status.message());
    // Before Python 3.11 exceptions take no notes.
    if (py::hasattr(error.value(), "add_note") &&
        !error.matches(PyExc_KeyboardInterrupt))
      error.value().attr("add_note")(note);
    throw error;
  }
  const py::object error =
      py::module_::import("caffe.errors")
          .attr("from_status")(absl::StatusCodeToString(status.code()),
                               std::string(status.message()));
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())),
                  error.ptr());
  throw py::error_already_set();
}

// ---- arrays ----

py::array MakeArray(const Shape& shape, float* data,
                    std::shared_ptr<const void> hold) {
  auto* kept = new std::shared_ptr<const void>(std::move(hold));
  const py::capsule base(kept, [](void* held) {
    delete static_cast<std::shared_ptr<const void>*>(held);
  });
  const std::vector<py::ssize_t> dims(shape.dims().begin(), shape.dims().end());
  return py::array_t<float>(dims, data, base);
}

Shape ShapeOf(const py::args& args) {
  py::args dims = args;
  // reshape((2, 3)) is taken for reshape(2, 3).
  if (args.size() == 1 &&
      (py::isinstance<py::tuple>(args[0]) || py::isinstance<py::list>(args[0])))
    dims = py::args(py::tuple(args[0]));
  std::vector<int64_t> extents;
  for (const py::handle dim : dims) extents.push_back(dim.cast<int64_t>());
  return ValueOrThrow(Shape::Create(extents));
}

py::tuple ShapeTuple(const Shape& shape) {
  py::tuple dims(shape.num_axes());
  for (int i = 0; i < shape.num_axes(); ++i) dims[i] = shape.dim(i);
  return dims;
}

// ---- messages and paths ----

bool IsMessage(const py::object& source) {
  return py::hasattr(source, "SerializeToString");
}

std::string SerializedMessage(const py::object& source) {
  return source.attr("SerializeToString")().cast<std::string>();
}

std::string PathOf(const py::object& source) {
  return py::module_::import("os").attr("fspath")(source).cast<std::string>();
}

namespace {

int64_t LegacyDim(const PyBlob& blob, int axis) {
  const Shape shape = blob.shape();
  if (shape.num_axes() > 4)
    throw py::value_error(
        "a blob of more than 4 axes has no num, channels, "
        "height and width: use shape");
  return shape.LegacyDim(axis);
}

void BindBlobs(py::module_& module) {
  py::class_<PyBlob, std::shared_ptr<PyBlob>>(module, "Blob")
      .def_property_readonly("data", &PyBlob::data)
      .def_property_readonly("diff", &PyBlob::diff)
      .def_property_readonly(
          "shape", [](const PyBlob& blob) { return ShapeTuple(blob.shape()); })
      .def_property_readonly(
          "count", [](const PyBlob& blob) { return blob.shape().count(); })
      .def_property_readonly(
          "num", [](const PyBlob& blob) { return LegacyDim(blob, 0); })
      .def_property_readonly(
          "channels", [](const PyBlob& blob) { return LegacyDim(blob, 1); })
      .def_property_readonly(
          "height", [](const PyBlob& blob) { return LegacyDim(blob, 2); })
      .def_property_readonly(
          "width", [](const PyBlob& blob) { return LegacyDim(blob, 3); })
      .def("reshape", [](PyBlob& blob,
                         const py::args& dims) { blob.Reshape(ShapeOf(dims)); })
      .def(
          "__dlpack__",
          [](PyBlob& blob, const py::object& stream) {
            return blob.data().attr("__dlpack__")();
          },
          py::arg("stream") = py::none())
      .def("__dlpack_device__",
           [](PyBlob& blob) { return blob.data().attr("__dlpack_device__")(); })
      .def("__array__",
           [](PyBlob& blob, const py::args&) { return blob.data(); })
      .def("__repr__", [](const PyBlob& blob) {
        return "<caffe.Blob " + blob.shape().ToString() + ">";
      });
}

// Set once: glog takes a second call for a mistake of ours.
void InitLog(int level, bool to_stderr) {
  FLAGS_minloglevel = level;
  FLAGS_logtostderr = to_stderr;
  if (!google::IsGoogleLoggingInitialized())
    google::InitGoogleLogging("pycaffe");
}

void BindSettings(py::module_& module,
                  const std::shared_ptr<Session>& session) {
  module.def("init_log", &InitLog, py::arg("level") = 0,
             py::arg("stderr") = true);
  module.def("log", [](const std::string& text) { LOG(INFO) << text; });
  module.def("set_mode_cpu", [session] { session->set_cpu(); });
  module.def("set_mode_gpu", [session] { ThrowIfError(session->SetGpu()); });
  module.def("set_device", [session](int ordinal) {
    ThrowIfError(session->SetDevice(ordinal));
  });
  module.def("set_random_seed",
             [session](int64_t seed) { session->set_seed(seed); });
  module.def("set_num_threads",
             [session](int threads) { session->set_threads(threads); });
  module.def("layer_type_list",
             [session] { return session->layers().Types(); });
}

}  // namespace
}  // namespace cssp::python

PYBIND11_MODULE(_caffe, module) {
  using namespace cssp::python;
  // As Caffe's: what is logged before init_log goes to stderr too.
  FLAGS_logtostderr = true;
  FLAGS_log_year_in_prefix = false;
  module.attr("__version__") = CSSP_VERSION;
  module.attr("TRAIN") = static_cast<int>(caffe::TRAIN);
  module.attr("TEST") = static_cast<int>(caffe::TEST);
  const auto session = ValueOrThrow(Session::Create());
  BindSettings(module, session);
  BindBlobs(module);
  BindPythonLayers(module);
  BindNets(module, session);
  BindSolvers(module, session);
  BindTables(module);
  BindPrograms(module);
}
