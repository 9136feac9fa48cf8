// Runs a job's workers under mpirun, as a child that goes when psctl goes, and
// starts single ones again.
#ifndef CSSP_SERVER_PSCTL_LAUNCHER_H_
#define CSSP_SERVER_PSCTL_LAUNCHER_H_

#include <sys/types.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace cssp {

struct LaunchOptions {
  std::string worker_binary;
  std::string job_id;
  std::string coordinator;
  std::string token_file;
  int workers = 1;
  std::string hostfile;                  // empty: this host
  std::string log_file;                  // empty: our own output
  std::vector<std::string> worker_args;  // appended
  // Outlives psctl (submit --detach).
  bool detached = false;
};

// mpirun's command line: it launches, and its own exit code means nothing.
std::vector<std::string> MpirunCommand(const LaunchOptions& options,
                                       bool only_loopback);
// That of one worker started again: on this host as it is, elsewhere by mpirun.
std::vector<std::string> RestartCommand(const LaunchOptions& options, int rank,
                                        const std::string& host,
                                        bool only_loopback);
// caffe-worker beside this program, unless `given`.  NotFound.
absl::StatusOr<std::string> FindWorkerBinary(const std::string& given);

// Writes the token to a new file that only its owner can read.
absl::StatusOr<std::string> WriteTokenFile(const std::string& folder,
                                           const std::string& token);

// Thread-confined: main.
class Launcher {
 public:
  static absl::StatusOr<std::unique_ptr<Launcher>> Start(
      const LaunchOptions& options);
  // Kills what is left, unless detached.
  ~Launcher();

  pid_t pid() const { return pid_; }
  // The workers run on hosts that mpirun has chosen.
  bool elsewhere() const { return !options_.hostfile.empty(); }
  // Starts `rank` again, on the host where it was (of a job with a hostfile).
  absl::Status Restart(int rank, const std::string& host);
  // A worker started by Restart that still runs.
  bool Restarted(int rank);
  // How the child ended, in words; nullopt while it runs.
  std::optional<std::string> Ended();
  // Waits `grace` for it to end by itself, then SIGTERM, then SIGKILL to its
  // whole process group.
  void Finish(absl::Duration grace);
  void Release() { pid_ = -1; }

 private:
  Launcher(LaunchOptions options, pid_t pid)
      : options_(std::move(options)), pid_(pid) {}
  bool AwaitEnd(absl::Duration timeout);
  void Signal(int number);

  const LaunchOptions options_;
  pid_t pid_;
  std::map<int, pid_t> again_;  // by rank
  std::optional<std::string> ended_;
};

}  // namespace cssp

#endif  // CSSP_SERVER_PSCTL_LAUNCHER_H_
