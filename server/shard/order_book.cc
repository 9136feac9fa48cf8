#include "server/shard/order_book.h"

#include <algorithm>
#include <iterator>
#include <limits>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "server/shard/vector_clock.h"

namespace cssp {
namespace {

constexpr int64_t kBegin = std::numeric_limits<int64_t>::min();

// The entry that holds at `clock`: the last that begins at or before it.
template <class Map>
const typename Map::mapped_type& At(const Map& map, int64_t clock) {
  return std::prev(map.upper_bound(clock))->second;
}

template <class Map>
void DropBefore(Map& map, int64_t clock) {
  const auto keep = std::prev(map.upper_bound(clock));
  map.erase(map.begin(), keep);
}

control::OrderAnswer Accepted() {
  control::OrderAnswer answer;
  answer.set_accepted(true);
  return answer;
}

}  // namespace

OrderBook::OrderBook(int workers, int staleness, int max_staleness)
    : workers_(workers), max_staleness_(max_staleness) {
  members_[kBegin] = std::vector<bool>(workers, true);
  staleness_[kBegin] = staleness;
}

bool OrderBook::IsMember(int rank, int64_t clock) const {
  return At(members_, clock)[rank];
}

int64_t OrderBook::Staleness(int64_t clock) const {
  const int64_t settled = At(staleness_, clock);
  if (pending_ && pending_->kind_case() == control::Order::kStaleness &&
      clock >= pending_->effective_clock()) {
    return std::min<int64_t>(settled, pending_->staleness());
  }
  return settled;
}

bool OrderBook::MayClose(int64_t clock) const {
  return !(pending_ && pending_->has_membership() &&
           clock >= pending_->effective_clock());
}

std::optional<control::CheckpointOrder> OrderBook::CheckpointAt(
    int64_t clock) const {
  const auto it = checkpoints_.find(clock);
  if (it != checkpoints_.end()) return it->second;
  if (pending_ && pending_->has_checkpoint() &&
      pending_->effective_clock() == clock) {
    return pending_->checkpoint();
  }
  return std::nullopt;
}

int64_t OrderBook::NextCheckpoint(int64_t clock) const {
  int64_t next = kClockInfinity;
  for (auto it = checkpoints_.upper_bound(clock); it != checkpoints_.end();
       ++it) {
    if (!it->second.durable()) continue;
    next = it->first;
    break;
  }
  if (pending_ && pending_->has_checkpoint() &&
      pending_->checkpoint().durable() && pending_->effective_clock() > clock)
    next = std::min(next, pending_->effective_clock());
  return next;
}

absl::Status OrderBook::Check(const control::Order& order) const {
  if (order.number() == 0) {
    return absl::InvalidArgumentError("orders are numbered from 1");
  }
  switch (order.kind_case()) {
    case control::Order::kMembership: {
      if (order.membership().ranks().empty()) {
        return absl::InvalidArgumentError("a membership order without ranks");
      }
      for (int rank : order.membership().ranks()) {
        if (rank < 0 || rank >= workers_) {
          return absl::InvalidArgumentError(
              absl::StrCat("membership order names rank ", rank,
                           ", the job has ", workers_, " workers"));
        }
      }
      return absl::OkStatus();
    }
    case control::Order::kStaleness:
      if (order.staleness() < 0 || order.staleness() > max_staleness_) {
        return absl::InvalidArgumentError(
            absl::StrCat("staleness ", order.staleness(), " is outside 0..",
                         max_staleness_, ", for which this job has room"));
      }
      return absl::OkStatus();
    case control::Order::kCheckpoint:
      return absl::OkStatus();
    case control::Order::KIND_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("an order of no known kind");
}

absl::StatusOr<control::OrderAnswer> OrderBook::Propose(
    const control::Order& order, int64_t opened) {
  RETURN_IF_ERROR(Check(order));
  if (order.number() <= committed_) return Accepted();
  // A proposal repeated or replaced: the earlier one is void.
  if (pending_ && pending_->number() <= order.number()) pending_.reset();
  if (pending_ || order.effective_clock() <= opened) {
    control::OrderAnswer refused;
    refused.set_opened_clock(opened);
    return refused;
  }
  pending_ = order;
  return Accepted();
}

absl::StatusOr<control::OrderAnswer> OrderBook::Commit(
    const control::Order& order, int64_t opened) {
  if (order.number() != 0 && order.number() <= committed_) return Accepted();
  const bool proposed = pending_ && pending_->number() == order.number() &&
                        pending_->effective_clock() == order.effective_clock();
  if (!proposed) {
    ASSIGN_OR_RETURN(const control::OrderAnswer answer, Propose(order, opened));
    if (!answer.accepted()) return answer;
  }
  pending_.reset();
  committed_ = order.number();
  Enact(order);
  return Accepted();
}

void OrderBook::Enact(const control::Order& order) {
  const int64_t clock = order.effective_clock();
  if (order.has_membership()) {
    std::vector<bool> members(workers_, false);
    for (int rank : order.membership().ranks()) members[rank] = true;
    members_[clock] = std::move(members);
  } else if (order.has_checkpoint()) {
    checkpoints_[clock] = order.checkpoint();
  } else {
    staleness_[clock] = order.staleness();
  }
}

void OrderBook::Save(ShardLogState* state) const {
  state->set_committed(committed_);
  if (pending_) state->set_pending(pending_->SerializeAsString());
  for (const auto& [clock, members] : members_) {
    ShardLogState::Members* out = state->add_members();
    out->set_clock(clock);
    for (int rank = 0; rank < workers_; ++rank) {
      if (members[rank]) out->add_ranks(rank);
    }
  }
  for (const auto& [clock, value] : staleness_) {
    ShardLogState::Staleness* out = state->add_staleness();
    out->set_clock(clock);
    out->set_value(value);
  }
  for (const auto& [clock, cut] : checkpoints_) {
    ShardLogState::Cut* out = state->add_cuts();
    out->set_clock(clock);
    out->set_durable(cut.durable());
  }
}

void OrderBook::Load(const ShardLogState& state) {
  committed_ = state.committed();
  pending_.reset();
  control::Order pending;
  if (state.has_pending() && pending.ParseFromString(state.pending())) {
    pending_ = std::move(pending);
  }
  if (state.members_size() > 0) members_.clear();
  for (const ShardLogState::Members& in : state.members()) {
    std::vector<bool> members(workers_, false);
    for (int rank : in.ranks()) {
      if (rank >= 0 && rank < workers_) members[rank] = true;
    }
    // The first entry holds from the beginning, whatever was pruned.
    members_[members_.empty() ? kBegin : in.clock()] = std::move(members);
  }
  if (state.staleness_size() > 0) staleness_.clear();
  for (const ShardLogState::Staleness& in : state.staleness()) {
    staleness_[staleness_.empty() ? kBegin : in.clock()] = in.value();
  }
  checkpoints_.clear();
  for (const ShardLogState::Cut& in : state.cuts()) {
    checkpoints_[in.clock()].set_durable(in.durable());
  }
}

void OrderBook::Withdraw(uint64_t number) {
  if (pending_ && pending_->number() <= number) pending_.reset();
}

void OrderBook::SetMembers(const std::vector<int>& ranks) {
  std::vector<bool> members(workers_, false);
  for (int rank : ranks) members[rank] = true;
  members_[kBegin] = std::move(members);
}

void OrderBook::Prune(int64_t clock) {
  DropBefore(members_, clock);
  // A pull may still come for clocks down to version - max_staleness.
  DropBefore(staleness_, clock - max_staleness_);
  checkpoints_.erase(checkpoints_.begin(), checkpoints_.lower_bound(clock));
}

}  // namespace cssp
