// Coordinator: workers and the evaluator, their leases and reports.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "server/coordinator/coordinator.h"
#include "server/coordinator/job_spec.h"

namespace cssp {
namespace {

constexpr size_t kMaxText = 1024;
constexpr int kMaxOutputs = 4096;
constexpr int kMaxHistogram = kMaxStaleness + 2;
constexpr int kMaxKept = 100000;  // tests and exports of one job

// Peers' words in our logs and answers: one bounded line.
std::string OneLine(const std::string& text) {
  return absl::StrReplaceAll(text.substr(0, kMaxText), {{"\n", " | "}});
}

std::string MemberName(const Member& member) {
  const std::string who = member.status.rank() == kEvaluatorRank
                              ? "the evaluator"
                              : absl::StrCat("worker ", member.status.rank());
  return absl::StrCat(who, " (", member.status.host(), " pid ",
                      member.status.pid(), ")");
}

}  // namespace

void Member::SetState(State to) {
  state = to;
  static constexpr const char* kNames[] = {"joining", "running", "done",
                                           "dead"};
  status.set_state(kNames[static_cast<int>(to)]);
}

absl::StatusOr<int> Coordinator::ChooseRankLocked(
    const Job& job, const control::JoinJobRequest& request) {
  if (request.role() == control::ROLE_EVALUATOR) return kEvaluatorRank;
  if (!request.request_id().empty())
    for (const auto& [rank, member] : job.members)
      if (rank != kEvaluatorRank && member.request_id == request.request_id())
        return rank;
  if (request.rank() >= job.spec.workers())
    return absl::InvalidArgumentError(
        absl::StrCat("rank ", request.rank(), ": job ", job.id, " has ",
                     job.spec.workers(), " workers"));
  if (request.rank() >= 0) return request.rank();
  if (job.status.state() == control::JOB_RUNNING &&
      MayJoinLater(job.spec))
    return NewcomerRankLocked(job);
  for (int rank = 0; rank < job.spec.workers(); ++rank)
    if (job.members.count(rank) == 0) return rank;
  return absl::FailedPreconditionError(absl::StrCat(
      "job ", job.id, " has all of its ", job.spec.workers(), " workers"));
}

absl::StatusOr<control::JoinJobResponse> Coordinator::JoinJob(
    const control::JoinJobRequest& request) {
  absl::MutexLock lock(&mu_);
  ASSIGN_OR_RETURN(const JobPtr job, FindLocked(request.job_id()));
  if (!TokensEqual(request.token(), job->token))
    return absl::UnauthenticatedError(
        absl::StrCat("wrong token for job ", job->id));
  const control::JobState state = job->status.state();
  if (IsTerminal(state))
    return absl::FailedPreconditionError(
        absl::StrCat("job ", job->id, " is ", StateName(state),
                     job->status.message().empty() ? "" : ": ",
                     job->status.message()));
  ASSIGN_OR_RETURN(const int rank, ChooseRankLocked(*job, request));
  Member& member = job->members[rank];
  const bool again = member.incarnation != 0 &&
                     !request.request_id().empty() &&
                     member.request_id == request.request_id();
  // The dead come back where the job waits for them; so does who died while
  // the coordinator was away.
  const bool awaited =
      job->spec.wait_for_dead() &&
      (member.state == Member::State::kDead || member.restored);
  const bool newcomer = request.rank() < 0 && !member.live() &&
                        state == control::JOB_RUNNING &&
                        MayJoinLater(job->spec);
  if (!again && !newcomer && member.incarnation != 0 &&
      rank != kEvaluatorRank && !awaited &&
      (state != control::JOB_PENDING || member.declared))
    return absl::FailedPreconditionError(
        absl::StrCat("rank ", rank, " of job ", job->id, " is ",
                     member.status.state(),
                     ": a worker cannot take over a rank while it trains"));
  if (!again) {
    if (member.directives != nullptr) {
      control::WorkerDirective fenced;
      fenced.set_fenced(absl::StrCat(request.host().substr(0, 256), " pid ",
                                     request.pid(), " has taken this rank"));
      member.directives->TryPush(fenced);
      member.directives->Close();
    }
    member = Member();
    member.incarnation = ++job->incarnations[rank];
    member.request_id = request.request_id().substr(0, 128);
    member.status.set_rank(rank);
    member.status.set_host(OneLine(request.host().substr(0, 256)));
    member.status.set_pid(request.pid());
    member.status.set_metrics_address(
        OneLine(request.metrics_address().substr(0, 256)));
    member.SetState(Member::State::kJoining);
    StoreRunLocked(*job);
  }
  member.last_seen = Now();
  VLOG(1) << "job " << job->id << ": " << MemberName(member) << " joins";

  control::JoinJobResponse response;
  *response.mutable_spec() = job->spec;
  response.set_rank(rank);
  response.set_incarnation(member.incarnation);
  response.set_job_number(job->number);
  response.set_job_epoch(job->status.job_epoch());
  response.set_start_clock(job->status.start_clock());
  response.set_lease_seconds(options_.lease.lease_ms() / 1000.0);
  response.set_token(job->token);
  response.set_initialised(!job->spec.resume_checkpoint().empty());
  return response;
}

absl::StatusOr<Member*> Coordinator::MemberLocked(Job& job, int rank,
                                                  uint32_t incarnation) {
  const auto it = job.members.find(rank);
  if (it == job.members.end())
    return absl::FailedPreconditionError(absl::StrCat(
        "rank ", rank, " has not joined job ", job.id));
  if (it->second.incarnation != incarnation)
    return absl::PermissionDeniedError(
        absl::StrCat("incarnation ", incarnation, " of rank ", rank,
                     " of job ", job.id, " is fenced by incarnation ",
                     it->second.incarnation));
  if (it->second.state == Member::State::kDead)
    return absl::FailedPreconditionError(absl::StrCat(
        "rank ", rank, " of job ", job.id, " counts as dead"));
  return &it->second;
}

absl::StatusOr<LeaseHandle> Coordinator::OpenLease(
    const control::WorkerReport& first) {
  absl::MutexLock lock(&mu_);
  ASSIGN_OR_RETURN(const JobPtr job, FindLocked(first.job_id()));
  ASSIGN_OR_RETURN(Member* const member,
                   MemberLocked(*job, first.rank(), first.incarnation()));
  // A stream that was opened anew replaces the one before.
  if (member->directives != nullptr) member->directives->Close();
  member->directives = std::make_shared<DirectiveQueue>(256);
  member->restored = false;
  LeaseHandle lease{job->id, first.rank(), first.incarnation(),
                    member->directives};
  ReportLocked(job, *member, first);
  if (first.rank() != kEvaluatorRank) TellOrdersLocked(*job, *lease.directives);
  if (job->recoveries > 0) {
    // Whoever has declared since takes no notice.
    control::WorkerDirective again;
    again.mutable_rejoin()->set_number(job->recoveries);
    again.mutable_rejoin()->set_why("the job's shards were opened anew");
    lease.directives->TryPush(again);
  }
  if (IsTerminal(job->status.state()) ||
      (job->released && first.rank() != kEvaluatorRank)) {
    control::WorkerDirective last;
    if (job->released || job->status.state() == control::JOB_SUCCEEDED)
      last.set_job_finished(true);
    else
      last.set_abort(true);
    lease.directives->TryPush(last);
    if (IsTerminal(job->status.state())) lease.directives->Close();
  } else if (job->cancelling && first.rank() != kEvaluatorRank) {
    control::WorkerDirective stop;
    stop.set_stop(true);
    lease.directives->TryPush(stop);
  }
  if (first.rank() == kEvaluatorRank) {
    // What was committed before it came and is not exported yet.
    job->evaluator_told = false;
    for (const auto& [clock, cut] : job->cuts)
      if (MayPullLocked(*job, clock, cut))
        SendCheckpointLocked(*job, cut.info);
  }
  return lease;
}

absl::Status Coordinator::Report(const control::WorkerReport& report) {
  absl::MutexLock lock(&mu_);
  ASSIGN_OR_RETURN(const JobPtr job, FindLocked(report.job_id()));
  ASSIGN_OR_RETURN(Member* const member,
                   MemberLocked(*job, report.rank(), report.incarnation()));
  ReportLocked(job, *member, report);
  return absl::OkStatus();
}

void Coordinator::ReportLocked(const JobPtr& job, Member& member,
                               const control::WorkerReport& report) {
  member.last_seen = Now();
  control::JobEvent event;
  switch (report.body_case()) {
    case control::WorkerReport::kClock:
      if (member.status.rank() != kEvaluatorRank)
        ClockLocked(job, member, report.clock());
      break;
    case control::WorkerReport::kOrderAnswer:
      AnsweredLocked(*job, member.status.rank(), report.order_answer());
      break;
    case control::WorkerReport::kLeaving:
      if (member.status.rank() != kEvaluatorRank) LeavingLocked(job, member);
      break;
    case control::WorkerReport::kDone:
      if (!member.live()) break;
      member.SetState(Member::State::kDone);
      if (job->asking.has_value())
        job->asking->awaited.erase(member.status.rank());
      StoreRunLocked(*job);
      if (job->progress.has_value())
        ProgressLocked(*job, job->progress->Remove(member.status.rank()));
      SettleLocked(job);
      break;
    case control::WorkerReport::kFailed: {
      const std::string why =
          absl::StrCat(MemberName(member), ": ", OneLine(report.failed()));
      member.failed = true;
      DeadLocked(job, member, why);
      break;
    }
    case control::WorkerReport::kWrong:
      WrongLocked(job, member, OneLine(report.wrong()));
      break;
    case control::WorkerReport::kTest:
      if (report.test().outputs_size() > kMaxOutputs ||
          job->status.tests_size() >= kMaxKept ||
          std::any_of(job->status.tests().begin(), job->status.tests().end(),
                      [&](const control::TestResult& test) {
                        return test.clock() == report.test().clock() &&
                               test.net() == report.test().net();
                      }))
        break;
      *job->status.add_tests() = report.test();
      *event.mutable_test() = report.test();
      AppendLocked(*job, std::move(event));
      break;
    case control::WorkerReport::kExported:
      if (job->status.exports_size() >= kMaxKept ||
          std::any_of(job->status.exports().begin(),
                      job->status.exports().end(),
                      [&](const control::ExportedFiles& files) {
                        return files.clock() == report.exported().clock();
                      }))
        break;
      *job->status.add_exports() = report.exported();
      *event.mutable_exported() = report.exported();
      AppendLocked(*job, std::move(event));
      StoreLocked(*job, /*sync=*/false).IgnoreError();
      break;
    case control::WorkerReport::kNote:
      NoteLocked(*job, OneLine(report.note()));
      break;
    default:
      break;
  }
}

void Coordinator::ClockLocked(const JobPtr& of, Member& member,
                              const control::ClockReport& clock) {
  Job& job = *of;
  const int64_t last = job.spec.solver().max_iter();
  if (!job.progress.has_value() || clock.clock() < job.status.start_clock() ||
      clock.clock() >= last || clock.outputs_size() > kMaxOutputs ||
      clock.staleness_histogram_size() > kMaxHistogram)
    return;
  control::WorkerStatus& status = member.status;
  status.set_clock(std::max(status.clock(), clock.clock() + 1));
  status.set_wait_seconds(status.wait_seconds() + clock.wait_seconds());
  status.set_run_seconds(status.run_seconds() + clock.clock_seconds());
  member.samples += clock.samples();
  ++member.clocks;
  member.last_clock = Now();
  if (status.run_seconds() > 0) {
    status.set_wait_share(status.wait_seconds() / status.run_seconds());
    status.set_samples_per_second(member.samples / status.run_seconds());
  }
  *status.mutable_staleness_histogram() = clock.staleness_histogram();
  ProgressLocked(job, job.progress->Add(status.rank(), clock));
  ObservePaceLocked(of, member, clock);
  ObserveSpeedLocked(of, member, clock);
}

void Coordinator::ProgressLocked(
    Job& job, const std::vector<control::ClockProgress>& clocks) {
  int64_t lowest = -1, highest = job.status.max_clock();
  int live = 0;
  for (const auto& [rank, member] : job.members) {
    if (rank == kEvaluatorRank) continue;
    highest = std::max(highest, member.status.clock());
    if (member.state == Member::State::kDead ||
        (member.leaves && !member.live()))
      continue;
    live += member.live();
    if (lowest < 0 || member.status.clock() < lowest)
      lowest = member.status.clock();
  }
  job.status.set_clock(std::max(job.status.clock(), lowest));
  job.status.set_max_clock(highest);
  for (const control::ClockProgress& progress : clocks) {
    job.status.set_loss(progress.loss());
    control::JobEvent event;
    *event.mutable_progress() = progress;
    event.mutable_progress()->set_unix_seconds(options_.unix_seconds());
    if (job.plateau)
      job.plateau->Observe(progress.clock(),
                           static_cast<float>(progress.loss()));
    event.mutable_progress()->set_rate(job.rate->Rate(
        progress.clock(), job.plateau ? job.plateau->state().step : 0));
    job.events.Append(std::move(event), progress.clock());
  }
  if (options_.metrics == nullptr || clocks.empty()) return;
  options_.metrics->JobLoss(job.id)->Set(job.status.loss());
  options_.metrics->JobClock(job.id)->Set(
      static_cast<double>(job.status.clock()));
  options_.metrics->JobWorkers(job.id)->Set(live);
}

void Coordinator::LeaseEnded(const LeaseHandle& lease) {
  absl::MutexLock lock(&mu_);
  const absl::StatusOr<JobPtr> job = FindLocked(lease.job_id);
  if (!job.ok() || stopping_) return;
  const auto it = (*job)->members.find(lease.rank);
  if (it == (*job)->members.end() ||
      it->second.directives != lease.directives ||
      it->second.incarnation != lease.incarnation)
    return;  // replaced by a newer stream
  it->second.directives->Close();
  if (it->second.live())
    DeadLocked(*job, it->second,
               absl::StrCat(MemberName(it->second),
                            " was lost: its connection ended"));
}

void Coordinator::ExpireMembersLocked(const JobPtr& job) {
  const absl::Duration lease = absl::Milliseconds(options_.lease.lease_ms());
  for (auto& [rank, member] : job->members) {
    const absl::Duration bound =
        member.restored
            ? absl::Milliseconds(options_.recovery.grace_ms())
        : member.directives == nullptr ? std::max(lease, options_.join_wait)
                                       : lease;
    if (member.state == Member::State::kDead && rank != kEvaluatorRank &&
        job->spec.wait_for_dead() &&
        Now() - member.dead_since >
            absl::Milliseconds(options_.recovery.worker_wait_ms()))
      EndLocked(job, control::JOB_FAILED,
                absl::StrCat(MemberName(member),
                             " was lost and not started again",
                             ResumeHintLocked(*job)));
    if (member.live() && Now() - member.last_seen > bound)
      DeadLocked(job, member,
                 absl::StrCat(MemberName(member), " was lost: silent for ",
                              absl::FormatDuration(Now() - member.last_seen)));
    if (IsTerminal(job->status.state())) return;
  }
}

void Coordinator::DeadLocked(const JobPtr& job, Member& member,
                             const std::string& why) {
  if (!member.live() || IsTerminal(job->status.state())) return;
  member.SetState(Member::State::kDead);
  const int rank = member.status.rank();
  if (rank == kEvaluatorRank) {
    member.dead_since = Now();
    StoreRunLocked(*job);
    NoteLocked(*job, absl::StrCat(why, "; training goes on, untested"));
    return SettleLocked(job);
  }
  LOG(WARNING) << "job " << job->id << ": " << why;
  if (job->first_failure.empty()) job->first_failure = why;
  if (options_.metrics != nullptr) options_.metrics->dead_workers->Increment();
  if (job->status.state() == control::JOB_PENDING)
    return EndLocked(job, control::JOB_FAILED,
                     why);
  if (job->asking.has_value()) job->asking->awaited.erase(rank);
  if (job->dssp.has_value()) job->dssp->Forget(rank);
  member.dead_since = Now();
  StoreRunLocked(*job);
  if (job->spec.wait_for_dead()) {
    NoteLocked(*job, absl::StrCat(why, "; the others wait for its restart"));
    return SettleLocked(job);
  }
  const uint32_t incarnation = member.incarnation;
  if (job->balance.has_value()) job->balance->Forget(rank);
  if (job->progress.has_value())
    ProgressLocked(*job, job->progress->Remove(rank));
  SettleLocked(job);
  if (IsTerminal(job->status.state())) return;
  NoteLocked(*job, absl::StrCat(why, "; the others go on"));
  LaterLocked([this, job, rank, incarnation] {
    WorkerGone(job, rank, incarnation);
  });
}

void Coordinator::WrongLocked(const JobPtr& job, Member& member,
                              const std::string& why) {
  const std::string line = absl::StrCat(MemberName(member), ": ", why);
  // Who joins a job that trains may be wrong about itself alone: a file or a
  // module that its host lacks.
  if (!member.live() || member.status.rank() == kEvaluatorRank ||
      member.state != Member::State::kRunning)
    return DeadLocked(job, member, line);
  member.SetState(Member::State::kDead);
  EndLocked(job, control::JOB_FAILED, line);
}

void Coordinator::TellWorkersLocked(
    Job& job, const control::WorkerDirective& directive) {
  for (auto& [rank, member] : job.members)
    if (rank != kEvaluatorRank && member.live() &&
        member.directives != nullptr)
      member.directives->TryPush(directive);
}

}  // namespace cssp
