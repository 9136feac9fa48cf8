#include "server/psctl/commands.h"

#include <unistd.h>

#include <cstdio>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/base/status_macros.h"
#include "common/config/environment.h"
#include "server/psctl/follow.h"
#include "server/psctl/output.h"

namespace cssp {
namespace {

// An answer, as JSON or as text.
int Show(const GlobalOptions& options, const google::protobuf::Message& message,
         const std::string& text) {
  std::fputs(options.json() ? ToJson(message, JsonForm::kIndented).c_str()
                            : text.c_str(),
             stdout);
  return 0;
}

}  // namespace

void AddGlobalFlags(GlobalOptions* options, FlagSet* flags) {
  flags->Add("coordinator", &options->coordinator,
             "HOST:PORT; otherwise $CSSP_COORDINATOR");
  flags->Add("o", &options->output, "table or json");
}

absl::Status CheckGlobal(GlobalOptions* options) {
  if (options->output != "table" && options->output != "json")
    return absl::InvalidArgumentError(absl::StrCat(
        "-o ", options->output, ": known are table and json"));
  if (options->coordinator.empty())
    options->coordinator =
        EnvironmentVariable("CSSP_COORDINATOR").value_or("");
  if (options->coordinator.empty())
    return absl::InvalidArgumentError(
        "no coordinator: give --coordinator HOST:PORT or set "
        "CSSP_COORDINATOR");
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<CoordinatorClient>> Connect(
    const GlobalOptions& options) {
  return CoordinatorClient::Create(options.coordinator);
}

absl::StatusOr<int> List(const GlobalOptions& options) {
  ASSIGN_OR_RETURN(const auto client, Connect(options));
  ASSIGN_OR_RETURN(const control::ListJobsResponse jobs, client->ListJobs());
  return Show(options, jobs, JobsTable(jobs));
}

absl::StatusOr<int> Servers(const GlobalOptions& options) {
  ASSIGN_OR_RETURN(const auto client, Connect(options));
  ASSIGN_OR_RETURN(const control::ListServersResponse servers,
                   client->ListServers());
  return Show(options, servers, ServersTable(servers));
}

absl::StatusOr<int> Describe(const GlobalOptions& options,
                             const std::string& job) {
  ASSIGN_OR_RETURN(const auto client, Connect(options));
  ASSIGN_OR_RETURN(const control::JobStatus status, client->DescribeJob(job));
  return Show(options, status, DescribeText(status));
}

absl::StatusOr<int> Cancel(const GlobalOptions& options,
                           const std::string& job) {
  ASSIGN_OR_RETURN(const auto client, Connect(options));
  ASSIGN_OR_RETURN(const control::JobStatus status, client->CancelJob(job));
  const control::JobState state = status.state();
  const bool stopping =
      state == control::JOB_RUNNING || state == control::JOB_FINISHING;
  return Show(options, status,
              absl::StrCat("job ", job, stopping ? " is stopping" : " is ",
                           stopping ? "" : StateText(state), "\n"));
}

absl::StatusOr<int> Checkpoint(const GlobalOptions& options,
                               const std::string& job,
                               double timeout_seconds) {
  ASSIGN_OR_RETURN(const auto client, Connect(options));
  ASSIGN_OR_RETURN(
      const control::CheckpointJobResponse response,
      client->CheckpointJob(job, absl::Seconds(timeout_seconds)));
  const control::CheckpointInfo& info = response.checkpoint();
  return Show(options, response,
              absl::StrCat("checkpoint ", info.checkpoint_id(), " (",
                           BytesText(info.bytes()), ")\n"));
}

namespace {

absl::StatusOr<int> Number(absl::string_view what, const std::string& text) {
  int number = 0;
  if (absl::SimpleAtoi(text, &number)) return number;
  return absl::InvalidArgumentError(
      absl::StrCat(what, " must be a number, not '", text, "'"));
}

}  // namespace

absl::StatusOr<int> Set(const GlobalOptions& options, const std::string& job,
                        const std::string& what, const std::string& value) {
  if (what != "staleness")
    return absl::InvalidArgumentError(
        absl::StrCat("'", what, "' cannot be set; staleness can"));
  ASSIGN_OR_RETURN(const int staleness, Number(what, value));
  ASSIGN_OR_RETURN(const auto client, Connect(options));
  ASSIGN_OR_RETURN(const control::OrderPlaced placed,
                   client->SetStaleness(job, staleness));
  return Show(options, placed,
              absl::StrCat("staleness ", staleness, " from clock ",
                           placed.effective_clock(), " on\n"));
}

absl::StatusOr<int> Scale(const GlobalOptions& options, const std::string& job,
                          const std::string& workers) {
  ASSIGN_OR_RETURN(const int number, Number("the number of workers", workers));
  ASSIGN_OR_RETURN(const auto client, Connect(options));
  ASSIGN_OR_RETURN(const control::JobStatus status,
                   client->ScaleJob(job, number));
  return Show(options, status,
              absl::StrCat("job ", job, " is to have ", number, " workers\n"));
}

absl::StatusOr<int> DrainWorker(const GlobalOptions& options,
                                const std::string& job,
                                const std::string& rank) {
  ASSIGN_OR_RETURN(const int number, Number("the worker's rank", rank));
  ASSIGN_OR_RETURN(const auto client, Connect(options));
  ASSIGN_OR_RETURN(const control::OrderPlaced placed,
                   client->DrainWorker(job, number));
  return Show(options, placed,
              absl::StrCat("worker ", number, " leaves before clock ",
                           placed.effective_clock(), "\n"));
}

absl::StatusOr<int> Watch(const GlobalOptions& options,
                          const std::string& job) {
  BlockSignals();
  ASSIGN_OR_RETURN(const auto client, Connect(options));
  ASSIGN_OR_RETURN(const control::JobStatus now, client->DescribeJob(job));
  FollowOptions follow;
  follow.job_id = job;
  follow.json = options.json();
  follow.live = LiveTerminal();
  // People want to see what comes; programs want all of it.
  if (!follow.json) follow.from_clock = now.max_clock();
  const absl::StatusOr<control::JobStatus> last = FollowJob(*client, follow);
  if (absl::IsCancelled(last.status())) {
    std::fprintf(stderr, "psctl: %s\n",
                 std::string(last.status().message()).c_str());
    return kExitInterrupted;
  }
  if (!last.ok()) return last.status();
  return ResultCode(*last);
}

int ResultCode(const control::JobStatus& job) {
  if (job.state() == control::JOB_SUCCEEDED) return 0;
  std::fprintf(stderr, "psctl: %s\n", ResultLine(job).c_str());
  return job.state() == control::JOB_CANCELLED ? kExitJobCancelled
                                               : kExitJobFailed;
}

bool LiveTerminal() {
  const std::string terminal = EnvironmentVariable("TERM").value_or("dumb");
  return isatty(STDOUT_FILENO) && terminal != "dumb";
}

}  // namespace cssp
