#include "server/coordinator/batch_policy.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace cssp {
namespace {

constexpr double kLeastSeconds = 1e-9;  // of a record
constexpr int kBisections = 200;

int64_t Most(const BatchSeat& seat) {
  return std::min<int64_t>(int64_t{seat.usual} * BatchPolicy::kMaxGrowth,
                           std::numeric_limits<int32_t>::max());
}

// What the seat would take of a clock that lasts `seconds`, if records could be
// cut.
double ShareOf(const BatchSeat& seat, double speed, double seconds) {
  return std::clamp(speed * seconds, 1.0, static_cast<double>(Most(seat)));
}

// How long a clock must last for the seats to take `total` records.
double SecondsFor(absl::Span<const BatchSeat> seats,
                  absl::Span<const double> speeds, double total) {
  double low = 0, high = 0;
  for (size_t i = 0; i < seats.size(); ++i)
    high = std::max(high, static_cast<double>(Most(seats[i])) / speeds[i]);
  for (int i = 0; i < kBisections; ++i) {
    const double middle = (low + high) / 2;
    double taken = 0;
    for (size_t s = 0; s < seats.size(); ++s)
      taken += ShareOf(seats[s], speeds[s], middle);
    (taken < total ? low : high) = middle;
  }
  return low;
}

// Of a clock in which the seats take `batches`.
double ClockSeconds(absl::Span<const int32_t> batches,
                    absl::Span<const double> speeds) {
  double longest = 0;
  for (size_t i = 0; i < batches.size(); ++i)
    longest = std::max(longest, batches[i] / speeds[i]);
  return longest;
}

// Whether batches by `wanted` speeds are worth an order where `true_speeds` are
// the seats'.
bool Shortens(absl::Span<const BatchSeat> seats, absl::Span<const double> wanted,
              absl::Span<const double> true_speeds) {
  std::vector<int32_t> now;
  for (const BatchSeat& seat : seats) now.push_back(seat.now);
  return ClockSeconds(BatchesBySpeed(seats, wanted), true_speeds) <=
         ClockSeconds(now, true_speeds) * (1 - BatchPolicy::kWorthwhile);
}

std::vector<double> Values(const std::map<int, double>& of) {
  std::vector<double> values;
  for (const auto& [rank, value] : of) values.push_back(value);
  return values;
}

bool SameRanks(const std::map<int, double>& a, const std::map<int, double>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& x, const auto& y) {
                      return x.first == y.first;
                    });
}

}  // namespace

std::vector<int32_t> BatchesBySpeed(absl::Span<const BatchSeat> seats,
                                    absl::Span<const double> speeds) {
  int64_t left = 0;
  for (const BatchSeat& seat : seats) left += seat.usual;
  const double seconds =
      SecondsFor(seats, speeds, static_cast<double>(left));
  std::vector<int32_t> batches;
  for (size_t i = 0; i < seats.size(); ++i) {
    batches.push_back(
        static_cast<int32_t>(ShareOf(seats[i], speeds[i], seconds)));
    left -= batches.back();
  }
  // Rounded down, at most one a seat is left: each to who has it done first.
  for (; left > 0; --left) {
    size_t first = seats.size();
    for (size_t i = 0; i < seats.size(); ++i) {
      if (batches[i] >= Most(seats[i])) continue;
      if (first == seats.size() ||
          (batches[i] + 1) / speeds[i] < (batches[first] + 1) / speeds[first])
        first = i;
    }
    ++batches[first];
  }
  return batches;
}

void BatchPolicy::Observe(int rank, double records, double seconds) {
  if (!(records > 0) || !std::isfinite(records) || !std::isfinite(seconds))
    return;
  Lane& lane = lanes_[rank];
  if (lane.records != records) lane.costs.clear();
  lane.records = records;
  lane.costs.push_back(std::max(seconds / records, kLeastSeconds));
  if (lane.costs.size() > kWindow) lane.costs.pop_front();
}

void BatchPolicy::Forget(int rank) {
  lanes_.erase(rank);
  dealt_by_.erase(rank);
  last_.clear();
  pause_ = 0;
  next_pause_ = 1;
}

BatchPolicy::Speeds BatchPolicy::Measure(
    absl::Span<const BatchSeat> seats) const {
  Speeds speeds;
  for (const BatchSeat& seat : seats) {
    const auto lane = lanes_.find(seat.rank);
    if (lane == lanes_.end() || lane->second.records != seat.now ||
        lane->second.costs.size() < kWindow)
      return {};
    std::vector<double> costs(lane->second.costs.begin(),
                              lane->second.costs.end());
    std::nth_element(costs.begin(), costs.begin() + kWindow / 2, costs.end());
    speeds[seat.rank] = 1 / costs[kWindow / 2];
  }
  return speeds;
}

bool BatchPolicy::Propose(absl::Span<const BatchSeat> seats) {
  if (seats.size() < 2) return false;
  Speeds speeds = Measure(seats);
  if (speeds.empty()) return false;
  lanes_.clear();
  const Speeds before = std::exchange(last_, std::move(speeds));
  if (!SameRanks(before, last_)) {
    pause_ = 0;
    next_pause_ = 1;
    return false;
  }
  if (pause_ > 0) {
    --pause_;
    return false;
  }
  if (!Shortens(seats, Values(before), Values(last_)) ||
      !Shortens(seats, Values(last_), Values(before)))
    return false;
  dealt_by_.clear();
  for (const auto& [rank, speed] : last_)
    dealt_by_[rank] = (speed + before.at(rank)) / 2;
  pause_ = next_pause_;
  next_pause_ = std::min(2 * next_pause_, kMaxPause);
  return true;
}

std::vector<int32_t> BatchPolicy::Deal(
    absl::Span<const BatchSeat> seats) const {
  double sum = 0;
  int known = 0;
  for (const BatchSeat& seat : seats) {
    const auto speed = dealt_by_.find(seat.rank);
    if (speed == dealt_by_.end()) continue;
    sum += speed->second;
    ++known;
  }
  std::vector<double> speeds;
  for (const BatchSeat& seat : seats) {
    const auto speed = dealt_by_.find(seat.rank);
    speeds.push_back(known == 0                 ? seat.usual
                     : speed == dealt_by_.end() ? sum / known
                                                : speed->second);
  }
  return BatchesBySpeed(seats, speeds);
}

void BatchPolicy::Restore(absl::Span<const BatchSeat> seats) {
  dealt_by_.clear();
  for (const BatchSeat& seat : seats) dealt_by_[seat.rank] = seat.now;
}

}  // namespace cssp
