#include "worker/data/record_dealer.h"

#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/philox.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

// Keeps these draws apart from the transformer's (counter word 3).
constexpr uint32_t kPermutationDraws = 0x7065726d;  // "perm"
constexpr int kRounds = 6;

absl::Status CheckShares(const std::vector<Share>& shares) {
  int64_t last = -1;
  for (const Share& share : shares) {
    if (share.rank <= last || share.batch < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("rank ", share.rank, " cannot take ", share.batch,
                       " records after rank ", last));
    }
    last = share.rank;
  }
  if (!shares.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError("records are dealt to nobody");
}

}  // namespace

int64_t Deal::total() const {
  int64_t records = 0;
  for (const Share& share : shares) records += share.batch;
  return records;
}

std::vector<Share> EqualShares(int32_t workers, int64_t batch) {
  std::vector<Share> shares;
  for (int32_t rank = 0; rank < workers; ++rank) shares.push_back({rank, batch});
  return shares;
}

absl::StatusOr<DealSchedule> DealSchedule::Create(Deal first,
                                                  int32_t iter_size) {
  RETURN_IF_ERROR(CheckShares(first.shares));
  if (iter_size < 1 || first.first_position < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "iter_size ", iter_size, " must be at least 1, the first position ",
        first.first_position, " not negative"));
  }
  DealSchedule schedule(iter_size);
  schedule.deals_.push_back(std::move(first));
  return schedule;
}

absl::Status DealSchedule::AddDeal(int64_t from_clock,
                                   std::vector<Share> shares) {
  RETURN_IF_ERROR(CheckShares(shares));
  Deal& last = deals_.back();
  if (from_clock < last.from_clock) {
    return absl::InvalidArgumentError(
        absl::StrCat("a deal from clock ", from_clock,
                     " cannot follow one from clock ", last.from_clock));
  }
  if (from_clock == last.from_clock) {
    last.shares = std::move(shares);
    return absl::OkStatus();
  }
  const int64_t dealt =
      (from_clock - last.from_clock) * iter_size_ * last.total();
  const int64_t position = last.first_position + dealt;
  deals_.push_back({from_clock, position, std::move(shares)});
  return absl::OkStatus();
}

void DealSchedule::Prune(int64_t clock) {
  size_t keep = deals_.size() - 1;
  while (keep > 0 && deals_[keep].from_clock > clock) --keep;
  deals_.erase(deals_.begin(), deals_.begin() + static_cast<int64_t>(keep));
}

const Deal& DealSchedule::DealOf(int64_t clock) const {
  size_t at = deals_.size() - 1;
  while (at > 0 && deals_[at].from_clock > clock) --at;
  DCHECK_GE(clock, deals_[at].from_clock);
  return deals_[at];
}

int64_t DealSchedule::BatchOf(int64_t clock, int32_t rank) const {
  for (const Share& share : DealOf(clock).shares) {
    if (share.rank == rank) return share.batch;
  }
  return 0;
}

int64_t DealSchedule::FirstPosition(int64_t clock, int32_t pass,
                                    int32_t rank) const {
  const Deal& deal = DealOf(clock);
  const int64_t passes = (clock - deal.from_clock) * iter_size_ + pass;
  int64_t position = deal.first_position + passes * deal.total();
  for (const Share& share : deal.shares) {
    if (share.rank >= rank) break;
    position += share.batch;
  }
  return position;
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
