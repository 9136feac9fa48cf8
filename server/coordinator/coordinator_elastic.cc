// Coordinator: who trains and how closely together, as that changes while a job
// runs: workers that join and leave, staleness, and who holds whom back.
#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "server/coordinator/coordinator.h"
#include "server/coordinator/job_spec.h"

namespace cssp {
namespace {

// A worker answers from a thread of its own, whatever it computes: one that
// does not is stopped or cut off, and its lease's business.
constexpr absl::Duration kAnswerWait = absl::Seconds(2);
constexpr size_t kShownOrders = 16;
// Without a measured clock (and without stall_seconds) nobody is late before.
constexpr absl::Duration kFirstClocks = absl::Minutes(1);
constexpr absl::Duration kLeastStall = absl::Seconds(10);
constexpr int kStallClocks = 20;
// A newcomer has this long to connect before anybody waits for it.
constexpr double kNewcomerSeconds = 1;
constexpr int64_t kMaxNewcomerClocks = 1000;

bool Trains(int rank, const Member& member) {
  return rank != kEvaluatorRank && member.state == Member::State::kRunning;
}

}  // namespace

// ---- Orders reach workers ---------------------------------------------------

// Every live worker is asked, too: none begins the order's clock before it
// knows what was decided.  Gives the highest clock that one of them has begun,
// or -1 when all accept.
absl::StatusOr<int64_t> Coordinator::AskWorkers(const JobPtr& job,
                                                const control::Order& order) {
  absl::MutexLock lock(&mu_);
  job->asking.emplace();
  Asking& asking = *job->asking;
  asking.number = order.number();
  *asking.directive.mutable_propose() = order;
  for (auto& [rank, member] : job->members) {
    if (!Trains(rank, member) || member.directives == nullptr) continue;
    member.directives->TryPush(asking.directive);
    asking.awaited.insert(rank);
  }
  const auto answered = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return stopping_ || asking.awaited.empty() ||
           IsTerminal(job->status.state());
  };
  const bool all =
      mu_.AwaitWithTimeout(absl::Condition(&answered), kAnswerWait);
  const int64_t begun = asking.begun;
  const std::string silent = absl::StrJoin(asking.awaited, ", ");
  job->asking.reset();
  if (stopping_ || IsTerminal(job->status.state()))
    return absl::FailedPreconditionError(
        absl::StrCat("job ", job->id, " has ended"));
  if (!all)
    return absl::UnavailableError(absl::StrCat(
        "job ", job->id, ": worker ", silent, " does not answer"));
  return begun;
}

void Coordinator::AnsweredLocked(Job& job, int rank,
                                 const control::OrderAnswer& answer) {
  if (!job.asking.has_value() || job.asking->number != answer.number()) return;
  if (!answer.accepted())
    job.asking->begun = std::max(job.asking->begun, answer.opened_clock());
  job.asking->awaited.erase(rank);
}

// The proposal will not be committed: nobody waits for it any longer.
void Coordinator::WithdrawOrder(
    const JobPtr& job, const std::vector<std::shared_ptr<ShardControl>>& shards,
    control::ProposeOrderRequest request) {
  request.set_withdraw(true);
  for (const auto& shard : shards) {
    const auto answer = shard->ProposeOrder(request);
    if (!answer.ok())
      LOG(WARNING) << "job " << job->id << ": " << answer.status();
  }
  control::WorkerDirective directive;
  directive.set_withdraw(request.order().number());
  absl::MutexLock lock(&mu_);
  TellWorkersLocked(*job, directive);
}

void Coordinator::PlacedLocked(Job& job, const control::Order& order,
                               const MembershipChange& change) {
  if (order.kind_case() == control::Order::kStaleness) {
    job.status.set_staleness(order.staleness());
    if (job.dssp.has_value()) job.dssp->Set(order.staleness());
  }
  if (order.has_membership()) {
    job.deals[order.effective_clock()] = order;
    ShowDealLocked(job);
  }
  for (const int rank : change.leaves) {
    if (job.balance.has_value()) job.balance->Forget(rank);
    const auto member = job.members.find(rank);
    if (member != job.members.end()) member->second.leaves = true;
  }
  // One that died meanwhile is taken out by the order that follows its death.
  if (change.joins.has_value()) {
    Member& member = job.members.at(*change.joins);
    if (member.incarnation == change.incarnation &&
        member.state == Member::State::kJoining) {
      member.SetState(Member::State::kRunning);
      member.status.set_clock(order.effective_clock());
      member.last_clock = Now();
      if (job.progress.has_value())
        job.progress->Await(*change.joins, order.effective_clock());
    }
  }
  auto* shown = job.status.mutable_orders();
  *shown->Add() = order;
  if (shown->size() > static_cast<int>(kShownOrders))
    shown->erase(shown->begin());
  StoreRunLocked(job);
}

// On a new lease: what the old one may not have brought.  A worker knows by
// their numbers what it has heard.
void Coordinator::TellOrdersLocked(const Job& job, DirectiveQueue& to) {
  for (const control::Order& order : job.status.orders()) {
    control::WorkerDirective directive;
    *directive.mutable_order() = order;
    to.TryPush(directive);
  }
  if (job.asking.has_value()) {
    to.TryPush(job.asking->directive);
  } else if (job.orders > 0) {
    control::WorkerDirective undecided;
    undecided.set_withdraw(job.orders);
    to.TryPush(undecided);
  }
}

// ---- Staleness --------------------------------------------------------------

absl::StatusOr<control::OrderPlaced> Coordinator::SetStaleness(
    const std::string& id, int staleness) {
  JobPtr job;
  {
    absl::MutexLock lock(&mu_);
    ASSIGN_OR_RETURN(job, FindLocked(id));
    if (job->spec.tables_size() > 0)
      return absl::UnimplementedError(
          absl::StrCat("job ", id, " has tables: their bound is fixed"));
  }
  if (staleness < 0 || staleness > kMaxStaleness)
    return absl::InvalidArgumentError(
        absl::StrCat("staleness ", staleness, " is not in 0..", kMaxStaleness));
  return OrderStaleness(job, staleness, "by request");
}

absl::StatusOr<control::OrderPlaced> Coordinator::OrderStaleness(
    const JobPtr& job, int staleness, const std::string& why) {
  control::Order order;
  order.set_staleness(staleness);
  ASSIGN_OR_RETURN(const int64_t clock, PlaceOrder(job, std::move(order)));
  absl::MutexLock lock(&mu_);
  NoteLocked(*job, absl::StrCat("staleness ", staleness, " from clock ", clock,
                                " on, ", why));
  control::OrderPlaced placed;
  placed.set_effective_clock(clock);
  return placed;
}

// DSSP: the workers' own pace chooses.
void Coordinator::ObservePaceLocked(const JobPtr& job, const Member& member,
                                    const control::ClockReport& clock) {
  if (!job->spec.has_dssp()) return;
  if (!job->dssp.has_value())
    job->dssp.emplace(job->spec.dssp().lower(), job->spec.dssp().upper(),
                      job->status.staleness());
  job->dssp->Observe(member.status.rank(), clock.clock(),
                     clock.clock_seconds() - clock.wait_seconds());
  const int before = job->dssp->current();
  const std::optional<int> wanted = job->dssp->Propose();
  if (!wanted.has_value()) return;
  LaterLocked([this, job, before, wanted = *wanted] {
    const auto placed =
        OrderStaleness(job, wanted, "chosen from the workers' clock times");
    if (placed.ok()) return;
    absl::MutexLock lock(&mu_);
    job->dssp->Set(before);
    VLOG(1) << "job " << job->id << ": " << placed.status();
  });
}

// ---- Who holds whom back ----------------------------------------------------

absl::Duration Coordinator::StallBoundLocked(const Job& job) const {
  if (job.spec.stall_seconds() > 0)
    return absl::Seconds(job.spec.stall_seconds());
  std::vector<double> clocks;
  for (const auto& [rank, member] : job.members)
    if (rank != kEvaluatorRank && member.clocks > 0)
      clocks.push_back(member.status.run_seconds() /
                       static_cast<double>(member.clocks));
  if (clocks.empty()) return kFirstClocks;
  std::nth_element(clocks.begin(), clocks.begin() + clocks.size() / 2,
                   clocks.end());
  return std::max(kLeastStall,
                  absl::Seconds(kStallClocks * clocks[clocks.size() / 2]));
}

// Names the worker at the least clock when others, a bound's width ahead, have
// stood still for too long; and nobody when all stand at one clock: then it is
// a server that they wait for.
void Coordinator::JudgeStallsLocked(const JobPtr& job) {
  int64_t least = std::numeric_limits<int64_t>::max();
  for (const auto& [rank, member] : job->members)
    if (Trains(rank, member)) least = std::min(least, member.status.clock());
  std::vector<int> held, lagging;
  absl::Time since = absl::InfiniteFuture();
  for (const auto& [rank, member] : job->members) {
    if (!Trains(rank, member)) continue;
    if (member.status.clock() == least) lagging.push_back(rank);
    if (member.status.clock() - job->status.staleness() <= least) continue;
    held.push_back(rank);
    since = std::min(since, member.last_clock);
  }
  if (options_.metrics != nullptr)
    options_.metrics->JobStalled(job->id)->Set(0);
  if (held.empty() || Now() - since < StallBoundLocked(*job)) {
    job->stall_told = absl::InfinitePast();
    return;
  }
  if (options_.metrics != nullptr)
    options_.metrics->JobStalled(job->id)->Set(
        static_cast<double>(held.size()));
  // Again when the wait has doubled.
  const absl::Duration waited = Now() - since;
  if (Now() - job->stall_told < waited / 2) return;
  job->stall_told = Now();
  std::vector<std::string> names;
  for (const int rank : lagging) {
    const control::WorkerStatus& status = job->members[rank].status;
    names.push_back(absl::StrCat("worker ", rank, " (", status.host(), " pid ",
                                 status.pid(), ")"));
  }
  const std::string line = absl::StrFormat(
      "%s at clock %d %s back worker%s %s for %.0f s",
      absl::StrJoin(names, ", "), least, names.size() > 1 ? "hold" : "holds",
      held.size() > 1 ? "s" : "", absl::StrJoin(held, ", "),
      absl::ToDoubleSeconds(waited));
  NoteLocked(*job, line);
  control::WorkerDirective directive;
  directive.set_stalled_by(line);
  for (const int rank : held)
    if (job->members[rank].directives != nullptr)
      job->members[rank].directives->TryPush(directive);
}

// ---- Membership -------------------------------------------------------------

int Coordinator::WantedLocked(const Job& job) const {
  return job.status.wanted_workers() > 0 ? job.status.wanted_workers()
                                         : job.spec.workers();
}

// What a death asked for, when nobody was silent any more.
void Coordinator::OrderMembers(const JobPtr& job) {
  {
    absl::MutexLock lock(&mu_);
    if (!job->members_changed || job->status.state() != control::JOB_RUNNING)
      return;
    job->members_changed = false;
  }
  const absl::StatusOr<int64_t> clock = PlaceMembers(job);
  absl::MutexLock lock(&mu_);
  if (clock.ok())
    NoteLocked(*job, absl::StrCat("from clock ", *clock,
                                  " on, only live workers contribute"));
  else
    job->members_changed = absl::IsUnavailable(clock.status());
}

absl::StatusOr<int64_t> Coordinator::LetGo(const JobPtr& job,
                                           const std::set<int>& ranks) {
  MembershipChange change;
  change.leaves = ranks;
  ASSIGN_OR_RETURN(const int64_t clock, PlaceMembers(job, change));
  absl::MutexLock lock(&mu_);
  NoteLocked(*job, absl::StrCat("worker ", absl::StrJoin(ranks, ", "),
                                " leaves before clock ", clock));
  return clock;
}

void Coordinator::LeavingLocked(const JobPtr& job, Member& member) {
  if (member.leaves || !member.live() || job->spec.tables_size() > 0) return;
  const int rank = member.status.rank();
  LaterLocked([this, job, rank] {
    const auto placed = LetGo(job, {rank});
    if (placed.ok()) return;
    absl::MutexLock lock(&mu_);
    NoteLocked(*job, absl::StrCat("worker ", rank, " wants to leave: ",
                                  placed.status().message()));
  });
}

absl::StatusOr<control::OrderPlaced> Coordinator::DrainWorker(
    const std::string& id, int rank) {
  JobPtr job;
  {
    absl::MutexLock lock(&mu_);
    ASSIGN_OR_RETURN(job, FindLocked(id));
    const auto member = job->members.find(rank);
    if (member == job->members.end() || !Trains(rank, member->second) ||
        job->spec.tables_size() > 0)
      return absl::FailedPreconditionError(
          absl::StrCat("job ", id, " trains with no worker ", rank));
  }
  ASSIGN_OR_RETURN(const int64_t clock, LetGo(job, {rank}));
  control::OrderPlaced placed;
  placed.set_effective_clock(clock);
  return placed;
}

absl::StatusOr<control::JobStatus> Coordinator::ScaleJob(const std::string& id,
                                                         int workers) {
  JobPtr job;
  std::set<int> surplus;
  {
    absl::MutexLock lock(&mu_);
    ASSIGN_OR_RETURN(job, FindLocked(id));
    if (job->status.state() != control::JOB_RUNNING ||
        job->spec.tables_size() > 0)
      return absl::FailedPreconditionError(absl::StrCat(
          "job ", id, " is ", StateName(job->status.state()),
          ": only a job that trains a net can be scaled, while it runs"));
    const int most = MaxWorkers(job->spec);
    if (workers < 1 || workers > most)
      return absl::InvalidArgumentError(absl::StrCat(
          "job ", id, ": ", workers, " workers are not in 1..", most,
          " (--max_workers of its submission)"));
    job->status.set_wanted_workers(workers);
    std::vector<int> live;
    for (const auto& [rank, member] : job->members)
      if (rank != kEvaluatorRank && member.live() && !member.leaves)
        live.push_back(rank);
    while (static_cast<int>(live.size()) > workers) {
      surplus.insert(live.back());  // the newest go first
      live.pop_back();
    }
    NoteLocked(*job, absl::StrCat("to be trained by ", workers, " workers"));
    control::JobEvent event;
    *event.mutable_status() = SummaryLocked(*job);
    AppendLocked(*job, std::move(event));
  }
  if (!surplus.empty()) RETURN_IF_ERROR(LetGo(job, surplus).status());
  absl::MutexLock lock(&mu_);
  return SummaryLocked(*job);
}

// The rank of one that comes while the job runs: the least that is free.
absl::StatusOr<int> Coordinator::NewcomerRankLocked(const Job& job) const {
  int live = 0;
  for (const auto& [rank, member] : job.members)
    live += rank != kEvaluatorRank && member.live() && !member.leaves;
  if (live >= WantedLocked(job))
    return absl::FailedPreconditionError(absl::StrCat(
        "job ", job.id, " has all of its ", WantedLocked(job),
        " workers; psctl scale raises their number"));
  for (int rank = 0; rank < MaxWorkers(job.spec); ++rank) {
    const auto member = job.members.find(rank);
    if (member == job.members.end() || !member->second.live()) return rank;
  }
  return absl::FailedPreconditionError(
      absl::StrCat("job ", job.id, " has no free rank"));
}

// Of one that has declared while the job runs: from a clock on that is far
// enough for it to be there, it contributes like the others.
absl::Status Coordinator::AdmitNewcomer(
    const control::DeclareLayoutRequest& request,
    control::DeclareLayoutResponse* response) {
  const int rank = request.rank();
  JobPtr job;
  MembershipChange change;
  int64_t margin = 0;
  {
    absl::MutexLock lock(&mu_);
    ASSIGN_OR_RETURN(job, FindLocked(request.job_id()));
    ASSIGN_OR_RETURN(Member* const member,
                     MemberLocked(*job, rank, request.incarnation()));
    if (rank == kEvaluatorRank || member->state != Member::State::kJoining ||
        job->status.state() != control::JOB_RUNNING)
      return absl::OkStatus();
    change.joins = rank;
    change.incarnation = member->incarnation;
    double seconds = 0;
    for (const auto& [other, each] : job->members)
      if (Trains(other, each) && each.clocks > 0)
        seconds = std::max(seconds, each.status.run_seconds() /
                                        static_cast<double>(each.clocks));
    if (seconds > 0)
      margin = std::min(kMaxNewcomerClocks,
                        static_cast<int64_t>(kNewcomerSeconds / seconds));
  }
  ASSIGN_OR_RETURN(const int64_t clock, PlaceMembers(job, change, margin));
  absl::MutexLock lock(&mu_);
  RETURN_IF_ERROR(MemberLocked(*job, rank, request.incarnation()).status());
  response->set_start_clock(clock);
  response->set_initialised(true);
  response->clear_orders();
  AddDealsLocked(*job, response);
  NoteLocked(*job, absl::StrCat("worker ", rank, " trains from clock ", clock,
                                " on"));
  return absl::OkStatus();
}

}  // namespace cssp
