// psctl's sub-commands but submit; what they all share.
#ifndef CSSP_SERVER_PSCTL_COMMANDS_H_
#define CSSP_SERVER_PSCTL_COMMANDS_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/config/flag_set.h"
#include "common/rpc/coordinator_client.h"
#include "proto/control.pb.h"

namespace cssp {

// Exit codes beside ExitCodeFor's (0, 1, 2).
inline constexpr int kExitJobFailed = 1;
inline constexpr int kExitJobCancelled = 8;
inline constexpr int kExitInterrupted = 130;

struct GlobalOptions {
  std::string coordinator;        // empty: CSSP_COORDINATOR
  std::string output = "table";   // or json
  bool json() const { return output == "json"; }
};

void AddGlobalFlags(GlobalOptions* options, FlagSet* flags);
// InvalidArgument: an unknown output, no coordinator.
absl::Status CheckGlobal(GlobalOptions* options);
absl::StatusOr<std::unique_ptr<CoordinatorClient>> Connect(
    const GlobalOptions& options);

// Each gives the exit code, or an error for ExitCodeFor.
absl::StatusOr<int> List(const GlobalOptions& options);
absl::StatusOr<int> Servers(const GlobalOptions& options);
absl::StatusOr<int> Describe(const GlobalOptions& options,
                             const std::string& job);
absl::StatusOr<int> Cancel(const GlobalOptions& options,
                           const std::string& job);
absl::StatusOr<int> Checkpoint(const GlobalOptions& options,
                               const std::string& job, double timeout_seconds);
// "staleness N" from the next clocks on.
absl::StatusOr<int> Set(const GlobalOptions& options, const std::string& job,
                        const std::string& what, const std::string& value);
absl::StatusOr<int> Scale(const GlobalOptions& options, const std::string& job,
                          const std::string& workers);
absl::StatusOr<int> DrainWorker(const GlobalOptions& options,
                                const std::string& job,
                                const std::string& rank);
absl::StatusOr<int> Watch(const GlobalOptions& options, const std::string& job);

// 0, kExitJobFailed or kExitJobCancelled; says why on stderr unless it is 0.
int ResultCode(const control::JobStatus& job);
// stdout is a terminal that can rewrite a line.
bool LiveTerminal();

}  // namespace cssp

#endif  // CSSP_SERVER_PSCTL_COMMANDS_H_
