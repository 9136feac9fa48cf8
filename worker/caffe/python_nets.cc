#include "worker/caffe/python_nets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/config/environment.h"
#include "common/model_file/prototxt.h"
#include "common/rpc/coordinator_client.h"

namespace cssp {

bool HasPythonLayers(const CaffeFlags& flags) {
  if (flags.action == "train") {
    // Unlike the command itself without a word about old forms.
    caffe::SolverParameter solver;
    return ReadTextFile(flags.solver, &solver).ok() &&
           InlineNets(flags.solver, &solver).ok() && HasPythonLayers(solver);
  }
  const auto net = ReadNetText(flags.model);
  return net.ok() && HasPythonLayers(*net);
}

absl::StatusOr<bool> HasPythonLayers(const WorkerConfig& config) {
  ASSIGN_OR_RETURN(const std::unique_ptr<CoordinatorClient> client,
                   CoordinatorClient::Create(config.coordinator()));
  ASSIGN_OR_RETURN(const control::JobStatus job,
                   client->DescribeJob(config.job()));
  return job.spec().python_layers();
}

absl::Status BecomePython(const ProgramHost& host) {
  std::vector<std::string> command = {
      EnvironmentVariable("CSSP_PYTHON").value_or(CSSP_PYTHON_EXECUTABLE), "-m",
      "caffe.programs", host.path};
  command.insert(command.end(), host.args.begin(), host.args.end());
  // In a build the package stands beside the program; elsewhere it is
  // installed.
  const std::string package = FolderOf(host.path) + "/../python";
  if (access((package + "/caffe").c_str(), F_OK) == 0) {
    const auto path = EnvironmentVariable("PYTHONPATH");
    setenv("PYTHONPATH",
           absl::StrCat(package, path.has_value() ? ":" + *path : "").c_str(),
           1);
  }
  std::vector<char*> argv;
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  return absl::NotFoundError(absl::StrCat("the net has layers in Python, but ",
                                          command[0],
                                          " cannot be run: ", strerror(errno)));
}

}  // namespace cssp
