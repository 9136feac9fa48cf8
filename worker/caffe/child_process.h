// A program started by this one, and its end.
#ifndef CSSP_WORKER_CAFFE_CHILD_PROCESS_H_
#define CSSP_WORKER_CAFFE_CHILD_PROCESS_H_

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace cssp {

// Thread-confined: its owner.  A child still there when this goes is ended.
class ChildProcess {
 public:
  // `environment` is added to ours.  The child has no signal blocked and a
  // process group of its own: the terminal's Ctrl-C is for its parent.
  // NotFound when there is no such program.
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(
      const std::string& program, const std::vector<std::string>& args,
      const std::vector<std::string>& environment);
  ~ChildProcess();

  // Its exit code (128 + signal where it was killed), nullopt while it runs.
  std::optional<int> ExitCode();
  // The same after at most `timeout`.
  std::optional<int> Wait(absl::Duration timeout);
  // SIGTERM, then SIGKILL after `grace`.  Idempotent.
  void Terminate(absl::Duration grace);
  pid_t pid() const { return pid_; }

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}

  const pid_t pid_;
  std::optional<int> exit_code_;
};

}  // namespace cssp

#endif  // CSSP_WORKER_CAFFE_CHILD_PROCESS_H_
