// The programs `caffe` and `caffe-worker` inside the interpreter: the same code,
// with layers in Python among the others.
#include <pybind11/stl.h>

#include "absl/strings/match.h"
#include "common/base/logging.h"
#include "worker/caffe/programs.h"
#include "worker/python/bindings.h"
#include "worker/python/python_layer.h"

namespace cssp::python {
namespace {

absl::Status AddPythonLayers(const std::shared_ptr<Compute>& compute,
                             const NetPlace& place) {
  py::gil_scoped_acquire lock;
  try {
    SetPlace(place.rank, place.workers);
    py::module_::import("caffe.programs").attr("look_beside")(place.source);
  } catch (py::error_already_set& error) {
    return absl::InternalError(OneLine(error, ""));
  }
  return RegisterPythonLayer(
      {.owner = compute, .raised = RaisedIn::kProgram}, compute->layers);
}

int RunProgram(const std::string& path, const std::vector<std::string>& args) {
  const bool worker = absl::EndsWith(path, "caffe-worker");
  InitLogging(worker ? "caffe-worker" : "caffe");
  const ProgramHost host{path, args, &AddPythonLayers};
  return Unlocked(
      [&] { return worker ? WorkerProgram(host) : CaffeProgram(host); });
}

}  // namespace

void BindPrograms(py::module_& module) {
  module.def("run_program", &RunProgram, py::arg("path"), py::arg("args"));
}

}  // namespace cssp::python
