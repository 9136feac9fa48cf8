#include <cstdio>

#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "worker/caffe/flags.h"
#include "worker/caffe/net_commands.h"
#include "worker/caffe/programs.h"
#include "worker/caffe/python_nets.h"
#include "worker/caffe/train_command.h"

namespace cssp {
namespace {

absl::Status Run(const ProgramHost& host) {
  ASSIGN_OR_RETURN(const CaffeFlags flags, ParseCaffeFlags(host.args));
  if (flags.version) {
    std::puts("caffe (Caffe-SSP) 0.1.0");
    return absl::OkStatus();
  }
  if (flags.help) {
    std::fputs(flags.help_text.c_str(), stdout);
    return absl::OkStatus();
  }
  if (flags.action == "train") return TrainCommand(host, flags);
  if (flags.action == "device_query") return DeviceQueryCommand(flags);
  if (!host.extension && HasPythonLayers(flags)) return BecomePython(host);
  return flags.action == "test" ? TestCommand(host, flags)
                                : TimeCommand(host, flags);
}

}  // namespace

int CaffeProgram(const ProgramHost& host) {
  const absl::Status status = Run(host);
  // Another rank has printed what is wrong.
  if (!status.ok() && status.message().empty()) return 2;
  return ExitCodeFor("caffe", status);
}

}  // namespace cssp
