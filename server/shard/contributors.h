// Backup workers: whose parts make up each clock, one set for all shards.
#ifndef CSSP_SERVER_SHARD_CONTRIBUTORS_H_
#define CSSP_SERVER_SHARD_CONTRIBUTORS_H_

#include <cstdint>
#include <map>
#include <vector>

#include "absl/types/span.h"

namespace cssp {

// Thread-confined: the shard.  Invariants:
//  1. The set of a clock, once known, never changes; filling is idempotent and
//     may come in any order.
//  2. Sets of at most kept + kMaxAhead clocks are held.
class Contributors {
 public:
  // Clocks that a set may be ahead of the oldest one kept.
  static constexpr int64_t kMaxAhead = 1 << 12;

  Contributors(int workers, int64_t start_clock)
      : workers_(workers), next_(start_clock), oldest_(start_clock) {}

  // The first clock whose set is not known: what is to be decided next.
  int64_t next() const { return next_; }
  bool Knows(int64_t clock) const { return sets_.count(clock) > 0; }
  // REQUIRES: Knows(clock).
  bool Contains(int64_t clock, int rank) const {
    return sets_.at(clock)[rank];
  }
  // Ascending; empty: not known, or no longer kept.
  std::vector<int32_t> Ranks(int64_t clock) const;
  // False: a set that cannot be (no rank, a wrong one, another set than the one
  // that is known, a clock out of reach).  One no longer kept is taken as read.
  bool Add(int64_t clock, absl::Span<const int32_t> ranks);
  // Forgets the sets of clocks before `clock`.
  void Prune(int64_t clock);
  int64_t oldest() const { return oldest_; }

 private:
  const int workers_;
  int64_t next_;
  int64_t oldest_;
  std::map<int64_t, std::vector<bool>> sets_;
};

}  // namespace cssp

#endif  // CSSP_SERVER_SHARD_CONTRIBUTORS_H_
