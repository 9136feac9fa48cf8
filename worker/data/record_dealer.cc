#include "worker/data/record_dealer.h"

#include <bit>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/philox.h"

namespace cssp {
namespace {

// Keeps these draws apart from the transformer's (counter word 3).
constexpr uint32_t kPermutationDraws = 0x7065726d;  // "perm"
constexpr int kRounds = 6;

}  // namespace

absl::StatusOr<DealSchedule> DealSchedule::Create(int64_t start_clock,
                                                  int64_t first_position,
                                                  int32_t workers,
                                                  int64_t batch,
                                                  int32_t iter_size) {
  if (workers < 1 || batch < 1 || iter_size < 1 || first_position < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "workers, batch_size and iter_size must be at least 1: they are ",
        workers, ", ", batch, " and ", iter_size));
  }
  DealSchedule schedule(iter_size);
  schedule.deals_.push_back({start_clock, first_position, workers, batch});
  return schedule;
}

absl::Status DealSchedule::AddDeal(int64_t from_clock, int32_t workers,
                                   int64_t batch) {
  const Deal& last = deals_.back();
  if (workers < 1 || batch < 1 || from_clock < last.from_clock) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a deal for ", workers, " workers of batch ", batch, " from clock ",
        from_clock, " cannot follow one from clock ", last.from_clock));
  }
  const int64_t dealt = (from_clock - last.from_clock) * iter_size_ *
                        last.workers * last.batch;
  deals_.push_back({from_clock, last.first_position + dealt, workers, batch});
  return absl::OkStatus();
}

const Deal& DealSchedule::DealOf(int64_t clock) const {
  size_t at = deals_.size() - 1;
  while (at > 0 && deals_[at].from_clock > clock) --at;
  return deals_[at];
}

int64_t DealSchedule::FirstPosition(int64_t clock, int32_t pass,
                                    int32_t rank) const {
  const Deal& deal = DealOf(clock);
  DCHECK_GE(clock, deal.from_clock);
  DCHECK_LT(rank, deal.workers);
  const int64_t passes = (clock - deal.from_clock) * iter_size_ + pass;
  return deal.first_position + (passes * deal.workers + rank) * deal.batch;
}

RecordId RecordOrder::At(int64_t position) const {
  RecordId id{position / size_, position % size_};
  if (shuffle_) id.index = PermuteIndex(id.index, size_, seed_, id.epoch);
  return id;
}

// A Feistel network on the smallest even number of bits that holds `size`, with
// cycle walking: values outside are sent on until one falls inside, which takes
// fewer than four steps on average.
int64_t PermuteIndex(int64_t index, int64_t size, uint64_t seed,
                     int64_t epoch) {
  if (size <= 1) return 0;
  const int bits = 64 - std::countl_zero(static_cast<uint64_t>(size - 1));
  const int half = (bits + 1) / 2;
  const uint64_t mask = (uint64_t{1} << half) - 1;
  uint64_t value = static_cast<uint64_t>(index);
  do {
    uint64_t left = value >> half, right = value & mask;
    for (uint32_t round = 0; round < kRounds; ++round) {
      const PhiloxBlock draw =
          Philox(seed, {static_cast<uint32_t>(right),
                        static_cast<uint32_t>(epoch), round, kPermutationDraws});
      const uint64_t next = left ^ (draw[0] & mask);
      left = right;
      right = next;
    }
    value = (left << half) | right;
  } while (value >= static_cast<uint64_t>(size));
  return static_cast<int64_t>(value);
}

}  // namespace cssp
