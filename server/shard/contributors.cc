#include "server/shard/contributors.h"

#include <algorithm>
#include <utility>

namespace cssp {

std::vector<int32_t> Contributors::Ranks(int64_t clock) const {
  std::vector<int32_t> ranks;
  const auto at = sets_.find(clock);
  if (at == sets_.end()) return ranks;
  for (int rank = 0; rank < workers_; ++rank) {
    if (at->second[rank]) ranks.push_back(rank);
  }
  return ranks;
}

bool Contributors::Add(int64_t clock, absl::Span<const int32_t> ranks) {
  if (clock < oldest_) return true;
  if (clock - oldest_ > kMaxAhead || ranks.empty()) return false;
  std::vector<bool> set(workers_, false);
  for (const int32_t rank : ranks) {
    if (rank < 0 || rank >= workers_) return false;
    set[rank] = true;
  }
  const auto known = sets_.find(clock);
  if (known != sets_.end()) return known->second == set;
  sets_[clock] = std::move(set);
  while (Knows(next_)) ++next_;
  return true;
}

void Contributors::Prune(int64_t clock) {
  oldest_ = std::max(oldest_, std::min(clock, next_));
  sets_.erase(sets_.begin(), sets_.lower_bound(oldest_));
}

}  // namespace cssp
