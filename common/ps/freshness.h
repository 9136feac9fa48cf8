// The rule of a read, which a shard enforces and a worker checks again.
#ifndef CSSP_COMMON_PS_FRESHNESS_H_
#define CSSP_COMMON_PS_FRESHNESS_H_

#include <cstdint>
#include <limits>

namespace cssp::ps {

// What of the updates a chunk's values contain, as their reader sees it.  On
// the wire: `clock` and `based_on` of kValues.  Of one chunk both only grow.
struct Freshness {
  // `own` where a reader's own updates need no rule (PER_CLOCK: they stand in
  // an open clock).
  static constexpr int64_t kAllOwn = std::numeric_limits<int64_t>::max();

  int64_t row = -1;       // every update of clocks 0..row-1 of every worker
  int64_t own = kAllOwn;  // and the reader's own of clocks 0..own-1

  // May a read of `clock` use them?
  bool FitFor(int64_t clock, int64_t staleness) const {
    return row >= 0 && row >= clock - staleness && own >= clock;
  }
  bool NewerThan(const Freshness& other) const {
    return row > other.row || own > other.own;
  }
};

}  // namespace cssp::ps

#endif  // CSSP_COMMON_PS_FRESHNESS_H_
