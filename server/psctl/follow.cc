#include "server/psctl/follow.h"

#include <signal.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

using control::JobEvent;
using control::JobStatus;

sigset_t OurSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

bool SignalPending() {
  const sigset_t set = OurSignals();
  const timespec now{};
  return sigtimedwait(&set, nullptr, &now) > 0;
}

bool Terminal(control::JobState state) {
  return state == control::JOB_SUCCEEDED || state == control::JOB_FAILED ||
         state == control::JOB_CANCELLED;
}

// Thread-confined.
class Follower {
 public:
  Follower(CoordinatorClient& client, const FollowOptions& options)
      : client_(client), options_(options), next_clock_(options.from_clock) {}
  ~Follower() {
    if (events_ != nullptr) std::fclose(events_);
  }

  absl::StatusOr<JobStatus> Run();

 private:
  absl::Status OpenEvents();
  void Show(const JobEvent& event);
  void ShowProgress();
  // One whole line, above the live one.
  void Print(const std::string& line);
  absl::Status LaunchMore();
  absl::Status OnSignal();
  absl::Status OnLauncher();
  absl::Status RestartDead();
  absl::Status JudgeJoining(const JobStatus& job);
  absl::Status RestartWorker(int rank, const std::string& host);
  bool Done() const {
    return Terminal(status_.state()) ||
           (options_.until_running && status_.state() >= control::JOB_RUNNING);
  }

  CoordinatorClient& client_;
  const FollowOptions& options_;
  int64_t next_clock_;
  std::FILE* events_ = nullptr;
  JobStatus status_;
  ProgressMeter meter_;
  absl::Time shown_ = absl::InfinitePast();
  int64_t shown_clock_ = -1;
  bool line_open_ = false;
  bool cancelling_ = false;
  bool launcher_ended_ = false;
  absl::Time looked_ = absl::InfinitePast();
  std::map<int, int> restarted_;  // by rank: how often
  std::set<int> missing_;         // ranks that have not joined yet
  absl::Time missing_since_ = absl::InfinitePast();
  bool new_status_ = false;
};

absl::Status Follower::OpenEvents() {
  if (options_.events_file.empty()) return absl::OkStatus();
  events_ = std::fopen(options_.events_file.c_str(), "w");
  if (events_ != nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("cannot write '", options_.events_file, "'"));
}

absl::StatusOr<JobStatus> Follower::Run() {
  RETURN_IF_ERROR(OpenEvents());
  absl::Time lost_since = absl::InfiniteFuture();
  for (;;) {
    control::WatchJobRequest request;
    request.set_job_id(options_.job_id);
    request.set_from_clock(next_clock_);
    const std::unique_ptr<JobWatch> watch = client_.WatchJob(request);
    while (!watch->ended()) {
      std::optional<JobEvent> event = watch->Next(absl::Milliseconds(100));
      if (event.has_value()) {
        lost_since = absl::InfiniteFuture();
        Show(*event);
      }
      RETURN_IF_ERROR(LaunchMore());
      if (options_.until_running && Done()) return status_;
      ShowProgress();
      RETURN_IF_ERROR(OnSignal());
      RETURN_IF_ERROR(OnLauncher());
      RETURN_IF_ERROR(RestartDead());
    }
    if (line_open_) std::puts("");
    line_open_ = false;
    if (Done()) return status_;
    const absl::Status status = watch->status();
    if (!status.ok() && !absl::IsUnavailable(status)) return status;
    lost_since = std::min(lost_since, absl::Now());
    if (absl::Now() - lost_since > options_.patience)
      return status.ok() ? absl::UnavailableError(absl::StrCat(
                               "coordinator ", client_.address(),
                               " ended the events of job ", options_.job_id))
                         : status;
    absl::SleepFor(absl::Milliseconds(300));
  }
}

// A job that is to have more workers than are alive says so by its status.
absl::Status Follower::LaunchMore() {
  if (!std::exchange(new_status_, false) || !options_.launch_more ||
      status_.state() != control::JOB_RUNNING)
    return absl::OkStatus();
  int more = status_.wanted_workers();
  for (const control::WorkerStatus& worker : status_.workers())
    more -= worker.state() == "running" || worker.state() == "joining";
  return more > 0 ? options_.launch_more(more) : absl::OkStatus();
}

absl::Status Follower::OnSignal() {
  if (!SignalPending()) return absl::OkStatus();
  if (!options_.cancel_on_signal)
    return absl::CancelledError(
        absl::StrCat("interrupted; job ", options_.job_id, " goes on"));
  if (cancelling_) return absl::CancelledError("interrupted twice: giving up");
  cancelling_ = true;
  Print(absl::StrCat("cancelling job ", options_.job_id,
                     "; interrupt again to give up"));
  return client_.CancelJob(options_.job_id).status();
}

absl::Status Follower::OnLauncher() {
  if (options_.launcher == nullptr || launcher_ended_) return absl::OkStatus();
  const std::optional<std::string> ended = options_.launcher->Ended();
  if (!ended.has_value()) return absl::OkStatus();
  launcher_ended_ = true;
  // A job that runs loses its leases now and ends by itself; one that nobody
  // has joined, or not everyone, would wait for ever.
  ASSIGN_OR_RETURN(const JobStatus now, client_.DescribeJob(options_.job_id));
  if (now.state() != control::JOB_PENDING) return absl::OkStatus();
  RETURN_IF_ERROR(client_.CancelJob(options_.job_id).status());
  return absl::InternalError(absl::StrCat(
      "job ", options_.job_id, ": ", *ended, " before the workers had joined"));
}

absl::Status Follower::RestartDead() {
  if (options_.launcher == nullptr || cancelling_ ||
      absl::Now() - looked_ < absl::Milliseconds(500))
    return absl::OkStatus();
  looked_ = absl::Now();
  const absl::StatusOr<JobStatus> job = client_.DescribeJob(options_.job_id);
  if (!job.ok()) return absl::OkStatus();  // the watch tells what is the matter
  if (job->state() == control::JOB_PENDING) return JudgeJoining(*job);
  if (job->state() != control::JOB_RUNNING) return absl::OkStatus();
  for (const control::WorkerStatus& worker : job->workers()) {
    const int rank = worker.rank();
    if (worker.state() != "dead" || options_.launcher->Restarted(rank) ||
        restarted_[rank] >= options_.restarts)
      continue;
    RETURN_IF_ERROR(RestartWorker(rank, worker.host()));
  }
  return absl::OkStatus();
}

absl::Status Follower::RestartWorker(int rank, const std::string& host) {
  ++restarted_[rank];
  RETURN_IF_ERROR(options_.launcher->Restart(rank, host));
  Print(absl::StrCat("worker ", rank, " is started again (", restarted_[rank],
                     " of ", options_.restarts, ")"));
  return absl::OkStatus();
}

// Of a worker that dies before it has joined nobody hears but us.
absl::Status Follower::JudgeJoining(const JobStatus& job) {
  std::set<int> missing;
  for (int rank = 0; rank < job.spec().workers(); ++rank) missing.insert(rank);
  for (const control::WorkerStatus& worker : job.workers())
    missing.erase(worker.rank());
  if (missing != missing_ || missing_since_ == absl::InfinitePast()) {
    missing_ = std::move(missing);
    missing_since_ = absl::Now();
    return absl::OkStatus();
  }
  if (missing_.empty() || absl::Now() - missing_since_ < options_.join_wait)
    return absl::OkStatus();
  missing_since_ = absl::Now();
  for (int rank : missing_) {
    const std::string line = absl::StrCat(
        "worker ", rank, " was started and has not joined within ",
        absl::FormatDuration(options_.join_wait));
    if (!options_.launcher->elsewhere() &&
        restarted_[rank] < options_.restarts) {
      Print(line);
      RETURN_IF_ERROR(RestartWorker(rank, ""));
      continue;
    }
    RETURN_IF_ERROR(client_.CancelJob(options_.job_id).status());
    return absl::InternalError(
        absl::StrCat("job ", options_.job_id, ": ", line, "; cancelled"));
  }
  return absl::OkStatus();
}

void Follower::Print(const std::string& line) {
  if (options_.json || options_.quiet) return;
  std::printf("%s%s\n", line_open_ ? "\r\033[K" : "", line.c_str());
  std::fflush(stdout);
  line_open_ = false;
}

void Follower::ShowProgress() {
  if (options_.json || options_.quiet || meter_.empty() ||
      meter_.last().clock() == shown_clock_)
    return;
  const absl::Duration interval =
      options_.live ? absl::Milliseconds(200) : options_.plain_interval;
  if (absl::Now() - shown_ < interval) return;
  shown_ = absl::Now();
  shown_clock_ = meter_.last().clock();
  const std::string line = meter_.Line(status_.spec().solver().max_iter());
  if (options_.live) {
    std::printf("\r\033[K%s", line.c_str());
    std::fflush(stdout);
    line_open_ = true;
  } else {
    Print(line);
  }
}

void Follower::Show(const JobEvent& event) {
  const bool json = events_ != nullptr || (options_.json && !options_.quiet);
  const std::string text = json ? ToJson(event, JsonForm::kOneLine) : "";
  if (events_ != nullptr) {
    std::fputs(text.c_str(), events_);
    std::fflush(events_);
  }
  if (options_.json && !options_.quiet) {
    std::fputs(text.c_str(), stdout);
    std::fflush(stdout);
  }
  switch (event.event_case()) {
    case JobEvent::kProgress:
      meter_.Add(event.progress());
      next_clock_ = std::max(next_clock_, event.progress().clock() + 1);
      break;
    case JobEvent::kStatus:
      if (event.status().state() != status_.state())
        Print(absl::StrCat("job ", event.status().job_id(), " is ",
                           StateText(event.status().state())));
      status_ = event.status();
      new_status_ = true;
      break;
    case JobEvent::kTest: {
      std::string line = absl::StrCat("test at clock ", event.test().clock());
      for (const control::OutputValue& output : event.test().outputs())
        absl::StrAppendFormat(&line, "  %s %.4f", output.name(),
                              output.value());
      Print(line);
      break;
    }
    case JobEvent::kCheckpoint:
      Print(absl::StrCat("checkpoint ", event.checkpoint().checkpoint_id()));
      break;
    case JobEvent::kExported:
      Print(absl::StrCat("exported ", event.exported().caffemodel()));
      break;
    case JobEvent::kNote:
      Print(event.note());
      break;
    default:
      break;
  }
}

}  // namespace

void BlockSignals() {
  const sigset_t set = OurSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

absl::StatusOr<JobStatus> FollowJob(CoordinatorClient& client,
                                    const FollowOptions& options) {
  return Follower(client, options).Run();
}

}  // namespace cssp
