#include "worker/caffe/python_nets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/config/environment.h"
#include "common/model_file/prototxt.h"
#include "worker/caffe/runtime.h"

namespace cssp {
namespace {

bool HasPythonLayer(const caffe::NetParameter& net) {
  return std::any_of(net.layer().begin(), net.layer().end(),
                     [](const caffe::LayerParameter& layer) {
                       return layer.type() == "Python";
                     });
}

bool HasPythonLayer(const caffe::SolverParameter& solver) {
  const auto any = [](const auto& nets) {
    return std::any_of(nets.begin(), nets.end(),
                       [](const auto& net) { return HasPythonLayer(net); });
  };
  return HasPythonLayer(solver.net_param()) ||
         HasPythonLayer(solver.train_net_param()) ||
         any(solver.test_net_param());
}

}  // namespace

bool HasPythonLayers(const CaffeFlags& flags) {
  if (flags.action == "train") {
    // Unlike the command itself without a word about old forms.
    caffe::SolverParameter solver;
    return ReadTextFile(flags.solver, &solver).ok() &&
           InlineNets(flags.solver, &solver).ok() && HasPythonLayer(solver);
  }
  const auto net = ReadNetText(flags.model);
  return net.ok() && HasPythonLayer(*net);
}

absl::Status RunInPython(char** argv) {
  std::string python =
      EnvironmentVariable("CSSP_PYTHON").value_or(CSSP_PYTHON_EXECUTABLE);
  // In a build the package stands beside the program; elsewhere it is
  // installed.
  const std::string package = ProgramFolder() + "/../python";
  if (access((package + "/caffe").c_str(), F_OK) == 0) {
    const auto path = EnvironmentVariable("PYTHONPATH");
    setenv("PYTHONPATH",
           absl::StrCat(package, path.has_value() ? ":" + *path : "").c_str(),
           1);
  }
  std::string module_flag = "-m", module = "caffe";
  std::vector<char*> args = {python.data(), module_flag.data(), module.data()};
  for (char** arg = argv + 1; *arg != nullptr; ++arg) args.push_back(*arg);
  args.push_back(nullptr);
  execvp(args[0], args.data());
  return absl::NotFoundError(absl::StrCat("the net has layers in Python, but ",
                                          python,
                                          " cannot be run: ", strerror(errno)));
}

}  // namespace cssp
