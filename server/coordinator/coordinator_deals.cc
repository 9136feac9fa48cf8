// Coordinator: who takes which records: membership orders carry the batch of each
// rank, and what was dealt before.
#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "server/coordinator/coordinator.h"

namespace cssp {
namespace {

bool Trains(int rank, const Member& member) {
  return rank != kEvaluatorRank && member.state == Member::State::kRunning;
}

// Records a pass of a worker, as its net is built: everybody's is the same net.
int32_t UsualBatch(const Job& job) {
  int64_t samples = 0;
  for (const auto& [rank, member] : job.members)
    samples = std::max(samples, member.samples_per_clock);
  return static_cast<int32_t>(
      std::max<int64_t>(1, samples / job.spec.solver().iter_size()));
}

std::vector<BatchSeat> SeatsOf(const Job& job,
                               const control::MembershipOrder& deal) {
  const int32_t usual = UsualBatch(job);
  std::vector<BatchSeat> seats;
  for (int i = 0; i < deal.ranks_size(); ++i)
    seats.push_back({deal.ranks(i), usual, deal.batch(i)});
  return seats;
}

}  // namespace

// Records dealt before `clock`.
int64_t Coordinator::RecordsBeforeLocked(const Job& job, int64_t clock) const {
  auto deal = job.deals.upper_bound(clock);
  if (deal == job.deals.begin()) return 0;
  --deal;
  int64_t pass = 0;
  const control::MembershipOrder& members = deal->second.membership();
  for (const int32_t batch : members.batch()) pass += batch;
  return members.first_record() +
         (clock - deal->first) * job.spec.solver().iter_size() * pass;
}

// Those who go on: alive, waited for, or through with all clocks; `change`
// applied.
control::MembershipOrder Coordinator::MembersLocked(
    const Job& job, const MembershipChange& change) const {
  control::MembershipOrder order;
  for (const auto& [rank, member] : job.members) {
    if (rank == kEvaluatorRank || change.leaves.count(rank) > 0) continue;
    const bool stays = (member.state == Member::State::kRunning ||
                        member.state == Member::State::kDone ||
                        job.spec.wait_for_dead()) &&
                       !member.leaves;
    if (!stays && rank != change.joins) continue;
    order.add_ranks(rank);
    order.add_batch(UsualBatch(job));
  }
  if (!job.balance.has_value()) return order;
  const std::vector<int32_t> batches = job.balance->Deal(SeatsOf(job, order));
  order.mutable_batch()->Assign(batches.begin(), batches.end());
  return order;
}

absl::StatusOr<control::MembershipOrder> Coordinator::ChangedMembersLocked(
    const Job& job, const MembershipChange& change) const {
  control::MembershipOrder order = MembersLocked(job, change);
  const bool trained = std::any_of(
      order.ranks().begin(), order.ranks().end(),
      [&](int rank) { return job.members.at(rank).live(); });
  if (!trained && !change.leaves.empty())
    return absl::FailedPreconditionError(absl::StrCat(
        "job ", job.id, ": its last worker is not let go; psctl cancel ",
        "ends it, psctl checkpoint keeps what it has learnt"));
  return order;
}

// The first workers', alike.
void Coordinator::BeginDealsLocked(Job& job, int64_t samples_per_clock,
                                   int64_t first_record) {
  const int64_t start = job.status.start_clock();
  const int64_t batch =
      std::max<int64_t>(1, samples_per_clock / job.spec.solver().iter_size());
  control::Order order;
  order.set_effective_clock(start);
  control::MembershipOrder& deal = *order.mutable_membership();
  for (int rank = 0; rank < job.spec.workers(); ++rank) {
    deal.add_ranks(rank);
    deal.add_batch(static_cast<int32_t>(batch));
  }
  deal.set_first_record(
      first_record >= 0
          ? first_record
          : start * job.spec.solver().iter_size() * job.spec.workers() * batch);
  job.deals.clear();
  job.deals[start] = std::move(order);
  if (job.spec.balance()) job.balance.emplace();
}

// The job went back to `clock`, with those who are alive (or waited for): what
// was ordered for later is void, and they deal from there.
void Coordinator::RestartDealsLocked(Job& job, int64_t clock) {
  control::Order order;
  order.set_number(++job.orders);
  order.set_effective_clock(clock);
  *order.mutable_membership() = MembersLocked(job);
  auto deal = job.deals.upper_bound(clock);
  if (job.spec.wait_for_dead() && deal != job.deals.begin())
    *order.mutable_membership() = std::prev(deal)->second.membership();
  order.mutable_membership()->set_first_record(RecordsBeforeLocked(job, clock));
  job.deals.erase(job.deals.lower_bound(clock), job.deals.end());
  if (order.membership().ranks_size() > 0) job.deals[clock] = order;
  ShowDealLocked(job);
  auto* shown = job.status.mutable_orders();
  for (int i = shown->size() - 1; i >= 0; --i)
    if (shown->Get(i).has_membership() &&
        shown->Get(i).effective_clock() >= clock)
      shown->DeleteSubrange(i, 1);
  for (const auto& [rank, member] : job.members) {
    if (rank == kEvaluatorRank || !job.progress.has_value()) continue;
    if (Trains(rank, member)) job.progress->Await(rank, clock);
    if (member.leaves) job.progress->Remove(rank);
  }
}

// In people's view of the workers.
void Coordinator::ShowDealLocked(Job& job) {
  if (job.deals.empty()) return;
  const control::MembershipOrder& deal =
      job.deals.rbegin()->second.membership();
  for (int i = 0; i < deal.ranks_size(); ++i) {
    const auto member = job.members.find(deal.ranks(i));
    if (member != job.members.end())
      member->second.status.set_batch(deal.batch(i));
  }
}

void Coordinator::AddDealsLocked(const Job& job,
                                 control::DeclareLayoutResponse* response)
    const {
  for (const auto& [clock, deal] : job.deals) *response->add_orders() = deal;
  // What was ordered since the job began, and is not in its spec.
  for (const control::Order& order : job.status.orders())
    if (order.kind_case() == control::Order::kStaleness)
      *response->add_orders() = order;
}

// ---- Batches by measured speed ----------------------------------------------

void Coordinator::ObserveSpeedLocked(const JobPtr& job, const Member& member,
                                     const control::ClockReport& clock) {
  if (!job->balance.has_value() || job->deals.empty()) return;
  job->balance->Observe(member.status.rank(),
                        clock.samples() / job->spec.solver().iter_size(),
                        clock.clock_seconds() - clock.wait_seconds());
  if (job->recovery.has_value() ||
      job->status.state() != control::JOB_RUNNING ||
      !job->balance->Propose(
          SeatsOf(*job, job->deals.rbegin()->second.membership())))
    return;
  LaterLocked([this, job] { Balance(job); });
}

// Who trains stays; their batches follow their speed.
void Coordinator::Balance(const JobPtr& job) {
  const absl::StatusOr<int64_t> clock = PlaceMembers(job);
  absl::MutexLock lock(&mu_);
  if (!clock.ok()) {
    VLOG(1) << "job " << job->id << ": " << clock.status();
    return;
  }
  const auto deal = job->deals.find(*clock);
  if (deal == job->deals.end()) return;  // the job went back meanwhile
  NoteLocked(*job,
             absl::StrCat("from clock ", *clock, " on, workers ",
                          absl::StrJoin(deal->second.membership().ranks(), ", "),
                          " take ",
                          absl::StrJoin(deal->second.membership().batch(), ", "),
                          " records a pass, by measured speed"));
}

void Coordinator::RestoreBalanceLocked(Job& job) {
  if (!job.spec.balance()) return;
  job.balance.emplace();
  if (!job.deals.empty())
    job.balance->Restore(
        SeatsOf(job, job.deals.rbegin()->second.membership()));
}

}  // namespace cssp
