// The command line of a tool: positional arguments and a few flags, in Caffe's
// manner (-backend=lmdb, --backend lmdb, anywhere on the line).
#ifndef CSSP_WORKER_TOOLS_ARGUMENTS_H_
#define CSSP_WORKER_TOOLS_ARGUMENTS_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cssp {

struct Arguments {
  std::vector<std::string> positional;
  std::map<std::string, std::string> flags;  // every known flag, defaults too
  bool help = false;                         // -h or --help was among them

  // REQUIRES: a switch that is known.
  bool given(const std::string& name) const { return flags.at(name) == "true"; }
};

// `known` gives each flag's default; one of "false" or "true" makes a switch
// (--gray, --gray=true, --nogray).  glog's flags that old scripts pass
// (-logtostderr, -alsologtostderr) are accepted and change nothing: logs go to
// stderr.  InvalidArgument names an unknown flag, and the known ones.
absl::StatusOr<Arguments> ParseArguments(
    int argc, const char* const* argv,
    const std::map<std::string, std::string>& known);

}  // namespace cssp

#endif  // CSSP_WORKER_TOOLS_ARGUMENTS_H_
