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

// From `from_clock` on, `workers` workers take `batch` records a pass, starting
// at position `first_position`.
struct Deal {
  int64_t from_clock = 0;
  int64_t first_position = 0;
  int32_t workers = 1;
  int64_t batch = 1;
};

// Immutable but for AddDeal, which its owner calls between clocks.
//
// Invariant: deals are ordered by clock; positions are dealt without gap or
// overlap: position((c*iter_size + i)*P + r)*B + j within a deal.
class DealSchedule {
 public:
  // InvalidArgument unless iter_size, workers and batch are at least 1.
  static absl::StatusOr<DealSchedule> Create(int64_t start_clock,
                                             int64_t first_position,
                                             int32_t workers, int64_t batch,
                                             int32_t iter_size);

  // From `from_clock` on other counts hold; positions go on without a gap.
  // InvalidArgument when a later deal is already known.
  absl::Status AddDeal(int64_t from_clock, int32_t workers, int64_t batch);

  // The position of item 0 of the batch that `rank` takes in pass `pass` of
  // `clock`.  REQUIRES: clock >= the first deal's, 0 <= rank < workers.
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
