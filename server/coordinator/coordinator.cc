// Housekeeping and the answers to people; the rest of Coordinator stands in
// coordinator_{jobs,members,layout,orders,servers}.cc.
#include "server/coordinator/coordinator.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "server/coordinator/job_spec.h"

namespace cssp {

using control::JobSpec;
using control::JobStatus;

absl::StatusOr<std::unique_ptr<Coordinator>> Coordinator::Create(
    CoordinatorOptions options) {
  CHECK(options.time != nullptr && options.store != nullptr &&
        options.unix_seconds)
      << "time, store and unix_seconds are required";
  std::unique_ptr<Coordinator> coordinator(new Coordinator(std::move(options)));
  absl::MutexLock lock(&coordinator->mu_);
  RETURN_IF_ERROR(coordinator->LoadJobs());
  return coordinator;
}

void Coordinator::Start() {
  housekeeping_ = Thread("coordinator", [this] {
    const absl::Duration interval =
        absl::Milliseconds(options_.lease.heartbeat_ms());
    for (;;) {
      {
        absl::MutexLock lock(&mu_);
        const auto wanted = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
          return stopping_ || !actions_.empty();
        };
        mu_.AwaitWithTimeout(absl::Condition(&wanted), interval);
        if (stopping_ && actions_.empty()) return;
      }
      Step();
    }
  });
}

void Coordinator::Stop() {
  std::vector<Thread> drains;
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
    // Streams end when their queues close.
    for (auto& [number, job] : jobs_)
      for (auto& [rank, member] : job->members)
        if (member.directives != nullptr) member.directives->Close();
    for (Server& server : servers_)
      if (server.directives != nullptr) server.directives->Close();
  }
  housekeeping_.Join();
  absl::MutexLock lock(&mu_);
  drains.swap(drains_);
}

void Coordinator::Step() {
  std::deque<Action> actions;
  {
    absl::MutexLock lock(&mu_);
    ExpireLocked();
    actions.swap(actions_);
  }
  while (!actions.empty()) {
    actions.front()();
    actions.pop_front();
    if (!actions.empty()) continue;
    absl::MutexLock lock(&mu_);
    actions.swap(actions_);  // what the last ones have set off
  }
}

void Coordinator::ExpireLocked() {
  const absl::Duration lease = absl::Milliseconds(options_.lease.lease_ms());
  int live_servers = 0, running = 0;
  for (Server& server : servers_) {
    if (!server.local && server.info.state() != "dead" &&
        Now() - server.last_seen > lease)
      ServerGoneLocked(server,
                       "was lost: it has been silent for longer than its lease");
    live_servers += server.info.state() == "live";
  }
  for (auto& [number, job] : jobs_) {
    if (IsTerminal(job->status.state())) continue;
    ++running;
    ExpireMembersLocked(job);
    ExpireCutsLocked(job);
    SettleLocked(job);
    if (job->recovery.has_value())
      LaterLocked([this, job = job] { Recover(job); });
    OrderTimedCutsLocked(job);
    if (job->status.state() != control::JOB_RUNNING) continue;
    if (!job->recovery.has_value()) JudgeStallsLocked(job);
    if (job->members_changed)
      LaterLocked([this, job = job] { OrderMembers(job); });
  }
  if (options_.metrics == nullptr) return;
  options_.metrics->live_servers->Set(live_servers);
  options_.metrics->running_jobs->Set(running);
}

control::ListJobsResponse Coordinator::ListJobs() const {
  absl::MutexLock lock(&mu_);
  control::ListJobsResponse response;
  for (const auto& [number, job] : jobs_)
    *response.add_jobs() = SummaryLocked(*job);
  return response;
}

absl::StatusOr<JobStatus> Coordinator::DescribeJob(const std::string& id) const {
  absl::MutexLock lock(&mu_);
  ASSIGN_OR_RETURN(const JobPtr job, FindLocked(id));
  return SummaryLocked(*job);
}

absl::StatusOr<JobStatus> Coordinator::CancelJob(const std::string& id) {
  absl::MutexLock lock(&mu_);
  ASSIGN_OR_RETURN(const JobPtr job, FindLocked(id));
  const control::JobState state = job->status.state();
  if (IsTerminal(state) || job->cancelling) return SummaryLocked(*job);
  job->cancelling = true;
  job->cancel_since = Now();
  if (state == control::JOB_RUNNING) {
    control::WorkerDirective stop;
    stop.set_stop(true);
    TellWorkersLocked(*job, stop);
    NoteLocked(*job, "cancelled: workers stop after the clock they are in");
  } else {
    EndLocked(job, control::JOB_CANCELLED, "");
  }
  return SummaryLocked(*job);
}

absl::StatusOr<std::vector<control::JobEvent>> Coordinator::NextEvents(
    WatchCursor* cursor, absl::Duration timeout) {
  absl::MutexLock lock(&mu_);
  ASSIGN_OR_RETURN(const JobPtr job, FindLocked(cursor->job_id));
  std::vector<control::JobEvent> events;
  if (!cursor->begun) {
    cursor->begun = true;
    // A coordinator that was started again does not know how far it has told.
    cursor->from_clock = std::min(cursor->from_clock, job->status.max_clock());
    *events.emplace_back().mutable_status() = SummaryLocked(*job);
    // A job of an earlier run has no events: its status is the last word.
    cursor->ended =
        IsTerminal(job->status.state()) && job->events.end() == 0;
    return events;
  }
  const auto ready = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return stopping_ || cursor->next < job->events.end() ||
           IsTerminal(job->status.state());
  };
  mu_.AwaitWithTimeout(absl::Condition(&ready), timeout);
  const uint64_t missed =
      job->events.Read(cursor->from_clock, 256, &cursor->next, &events);
  if (missed > 0) {
    control::JobEvent note;
    note.set_note(absl::StrCat(missed, " events were missed"));
    events.insert(events.begin(), std::move(note));
  }
  cursor->ended = IsTerminal(job->status.state()) &&
                  cursor->next == job->events.end();
  if (stopping_ && events.empty() && !cursor->ended)
    return absl::UnavailableError("the coordinator is leaving");
  return events;
}

}  // namespace cssp
