// caffe: Caffe's own command line.  Wiring only.
#include <cstdio>
#include <string>
#include <vector>

#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/launch/launch.h"
#include "worker/caffe/flags.h"
#include "worker/caffe/net_commands.h"
#include "worker/caffe/python_nets.h"
#include "worker/caffe/runtime.h"
#include "worker/caffe/train_command.h"

namespace cssp {
namespace {

absl::Status Run(int argc, char** argv) {
  ASSIGN_OR_RETURN(
      const CaffeFlags flags,
      ParseCaffeFlags(std::vector<std::string>(argv + 1, argv + argc)));
  if (flags.version) {
    std::puts("caffe (Caffe-SSP) 0.1.0");
    return absl::OkStatus();
  }
  if (flags.help) {
    std::fputs(flags.help_text.c_str(), stdout);
    return absl::OkStatus();
  }
  if (HasPythonLayers(flags)) return RunInPython(argv);
  if (flags.action == "train") return TrainCommand(flags);
  if (flags.action == "test") return TestCommand(flags);
  if (flags.action == "time") return TimeCommand(flags);
  return DeviceQueryCommand(flags);
}

}  // namespace
}  // namespace cssp

int main(int argc, char** argv) {
  // Before OpenMP counts its cores, which it does when it is loaded.
  const std::string widened = cssp::WidenAffinity();
  if (!widened.empty()) std::fprintf(stderr, "caffe: %s\n", widened.c_str());
  cssp::EnsurePassiveThreads(argv);
  cssp::InitLogging(argv[0]);
  const absl::Status status = cssp::Run(argc, argv);
  // Another rank has printed what is wrong.
  if (!status.ok() && status.message().empty()) return 2;
  return cssp::ExitCodeFor("caffe", status);
}
