// Which records a worker trains on: a pure function of the clock.  No cursor is
// stored, nobody reads other workers' records, and a resume, on other counts
// too, goes on where the records ended.
#ifndef CSSP_WORKER_DATA_RECORD_DEALER_H_
#define CSSP_WORKER_DATA_RECORD_DEALER_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace cssp {

// A position counts every record dealt since the start of training, epoch after
// epoch; the record at a position follows from the epoch's permutation.

// What one worker takes a pass.
struct Share {
  int32_t rank = 0;
  int64_t batch = 1;
};

// From `from_clock` on the workers of `shares` take records, in the order of
// their ranks, starting at position `first_position`.
struct Deal {
  int64_t from_clock = 0;
  int64_t first_position = 0;
  std::vector<Share> shares;  // by rank, ascending

  // Records a pass.
  int64_t total() const;
};

// Ranks 0..workers-1, `batch` records each.
std::vector<Share> EqualShares(int32_t workers, int64_t batch);

// Who takes which records: membership and batches, piecewise by clock.
// Immutable but for AddDeal and Prune, which its owner calls between clocks.
//
// Invariant: deals are ordered by clock; positions are dealt without gap or
// overlap, clock by clock, pass by pass, rank by rank.
class DealSchedule {
 public:
  // InvalidArgument: an iter_size or a batch below 1, nobody, ranks that do not
  // ascend, a negative position.
  static absl::StatusOr<DealSchedule> Create(Deal first, int32_t iter_size);

  // From `from_clock` on others take records, or other numbers of them;
  // positions go on without a gap.  Replaces a deal from the same clock.
  // InvalidArgument when a later deal is already known.
  absl::Status AddDeal(int64_t from_clock, std::vector<Share> shares);
  // Forgets deals that only clocks before `clock` need.
  void Prune(int64_t clock);

  // What `rank` takes in each pass of `clock`; 0: nothing.
  // REQUIRES, here and below: clock >= the first deal's.
  int64_t BatchOf(int64_t clock, int32_t rank) const;
  // The position of item 0 of what `rank` takes in pass `pass` of `clock`; of a
  // rank that takes nothing: where it would.
  int64_t FirstPosition(int64_t clock, int32_t pass, int32_t rank) const;

  const std::vector<Deal>& deals() const { return deals_; }

 private:
  explicit DealSchedule(int32_t iter_size) : iter_size_(iter_size) {}
  const Deal& DealOf(int64_t clock) const;

  int32_t iter_size_;
  std::vector<Deal> deals_;
};

// One record of one epoch: what draws are keyed by.
struct RecordId {
  int64_t epoch = 0;
  int64_t index = 0;  // in the base's key order
};

// Immutable.
class RecordOrder {
 public:
  // In key order (Caffe's way), or shuffled anew each epoch from `seed`.
  // REQUIRES: size > 0.
  RecordOrder(int64_t size, bool shuffle, uint64_t seed)
      : size_(size), shuffle_(shuffle), seed_(seed) {}

  RecordId At(int64_t position) const;

 private:
  int64_t size_;
  bool shuffle_;
  uint64_t seed_;
};

// The image of `index` under a permutation of [0, size) chosen by seed and
// epoch; O(1) memory and time.  REQUIRES: 0 <= index < size.
int64_t PermuteIndex(int64_t index, int64_t size, uint64_t seed,
                     int64_t epoch);

}  // namespace cssp

#endif  // CSSP_WORKER_DATA_RECORD_DEALER_H_
