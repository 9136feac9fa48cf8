#include "tests/integration/train/cluster.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

// One thread a process and no spinning: the same numbers on any machine.
const std::vector<std::string> kEnvironment = {
    "OMP_NUM_THREADS=1", "OMP_WAIT_POLICY=passive", "GLOG_minloglevel=1"};

// `built`, or the program of that name in CSSP_BIN_DIR.
std::string Program(const std::string& built) {
  const char* folder = getenv("CSSP_BIN_DIR");
  if (folder == nullptr) return built;
  return absl::StrCat(folder, "/",
                      std::filesystem::path(built).filename().string());
}

std::string ControlOf(const std::string& ready_file) {
  std::ifstream in(ready_file);
  std::string line;
  std::getline(in, line);
  for (absl::string_view field :
       absl::StrSplit(line, ' ', absl::SkipEmpty()))
    if (absl::ConsumePrefix(&field, "control=")) return std::string(field);
  return "";
}

bool Terminal(control::JobState state) {
  return state == control::JOB_SUCCEEDED || state == control::JOB_FAILED ||
         state == control::JOB_CANCELLED;
}

}  // namespace

TempFolder::TempFolder() {
  std::string pattern = "/tmp/cssp-train-XXXXXX";
  path_ = mkdtemp(pattern.data());
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

absl::StatusOr<std::unique_ptr<Cluster>> Cluster::Start(
    const TempFolder& folder, int servers) {
  auto cluster = std::unique_ptr<Cluster>(new Cluster(folder.path()));
  for (int i = 0; i < servers; ++i) RETURN_IF_ERROR(cluster->AddServer(i));
  ASSIGN_OR_RETURN(cluster->client_,
                   CoordinatorClient::Create(cluster->address_));
  return cluster;
}

Cluster::~Cluster() {
  workers_.clear();
  while (!servers_.empty()) servers_.pop_back();
}

absl::Status Cluster::AddServer(int index) {
  const std::string stem = absl::StrCat(folder_, "/server", index);
  std::vector<std::string> args = {
      absl::StrCat("--set=id=ps-", index),
      absl::StrCat("--set=state_dir=", stem),
      absl::StrCat("--set=ready_file=", stem, ".ready"),
      "--set=exit_with_parent=true"};
  if (index > 0) args.push_back(absl::StrCat("--set=coordinator=", address_));
  ASSIGN_OR_RETURN(std::unique_ptr<ChildProcess> server,
                   ChildProcess::Start(Program(CSSP_PS_SERVER), args,
                                       kEnvironment));
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  std::string control;
  while ((control = ControlOf(stem + ".ready")).empty()) {
    if (server->ExitCode().has_value() || absl::Now() > deadline)
      return absl::InternalError(absl::StrCat("server ", index, " is not up"));
    absl::SleepFor(absl::Milliseconds(10));
  }
  if (index == 0) address_ = control;
  servers_.push_back(std::move(server));
  return absl::OkStatus();
}

absl::Status Cluster::Submit(const control::JobSpec& spec) {
  control::SubmitJobRequest request;
  *request.mutable_spec() = spec;
  ASSIGN_OR_RETURN(const control::SubmitJobResponse submitted,
                   client_->SubmitJob(request));
  job_ = submitted.job_id();
  const std::string token_file = absl::StrCat(folder_, "/", job_, ".token");
  std::ofstream(token_file) << submitted.token() << "\n";
  chmod(token_file.c_str(), 0600);
  workers_.clear();
  for (int rank = 0; rank < spec.workers(); ++rank) {
    std::vector<std::string> args = {
        absl::StrCat("--job=", job_), absl::StrCat("--rank=", rank),
        absl::StrCat("--coordinator=", address_),
        absl::StrCat("--token_file=", token_file), "--threads=1"};
    args.insert(args.end(), worker_flags_.begin(), worker_flags_.end());
    ASSIGN_OR_RETURN(std::unique_ptr<ChildProcess> worker,
                     ChildProcess::Start(Program(CSSP_CAFFE_WORKER), args,
                                         kEnvironment));
    workers_.push_back(std::move(worker));
  }
  return absl::OkStatus();
}

absl::StatusOr<control::JobStatus> Cluster::AwaitEnd(absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  while (true) {
    ASSIGN_OR_RETURN(const control::JobStatus status,
                     client_->DescribeJob(job_));
    if (Terminal(status.state())) {
      for (const auto& worker : workers_)
        if (worker != nullptr) worker->Wait(absl::Seconds(10));
      return status;
    }
    if (absl::Now() > deadline)
      return absl::DeadlineExceededError(
          absl::StrCat("the job has not ended: ", status.ShortDebugString()));
    absl::SleepFor(absl::Milliseconds(50));
  }
}

absl::StatusOr<control::JobStatus> Cluster::Run(const control::JobSpec& spec,
                                                absl::Duration timeout) {
  RETURN_IF_ERROR(Submit(spec));
  return AwaitEnd(timeout);
}

absl::Status Cluster::AwaitClock(int64_t clock, absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  while (absl::Now() < deadline) {
    ASSIGN_OR_RETURN(const control::JobStatus status,
                     client_->DescribeJob(job_));
    if (status.clock() >= clock) return absl::OkStatus();
    if (Terminal(status.state()))
      return absl::FailedPreconditionError(status.message());
    absl::SleepFor(absl::Milliseconds(10));
  }
  return absl::DeadlineExceededError("the clock was not reached");
}

void Cluster::KillWorker(int rank) {
  kill(workers_[rank]->pid(), SIGKILL);
  workers_[rank]->Wait(absl::Seconds(5));
}

}  // namespace cssp
