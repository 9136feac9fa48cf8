#include "server/coordinator/staleness_policy.h"

#include <algorithm>
#include <limits>

namespace cssp {
namespace {

// The first rounds let fast workers use up their slack: what counts comes after.
constexpr int kRounds = 6;
constexpr int kWarmUpRounds = 2;

}  // namespace

double ReplayRate(const std::vector<std::vector<double>>& seconds, int s) {
  const int clocks = static_cast<int>(seconds[0].size());
  const int total = clocks * kRounds;
  std::vector<double> finish(seconds.size(), 0);
  // everyone[c]: when the last worker has committed clock c.
  std::vector<double> everyone(total, 0);
  for (int c = 0; c < total; ++c) {
    const double readable = c - s - 1 >= 0 ? everyone[c - s - 1] : 0;
    for (size_t q = 0; q < seconds.size(); ++q) {
      finish[q] = std::max(finish[q], readable) + seconds[q][c % clocks];
      everyone[c] = std::max(everyone[c], finish[q]);
    }
  }
  const int from = clocks * kWarmUpRounds;
  const double span = everyone[total - 1] - everyone[from - 1];
  return span > 0 ? (total - from) / span : 0;
}

StalenessPolicy::StalenessPolicy(int lower, int upper, int current)
    : lower_(lower), upper_(upper), current_(current) {}

void StalenessPolicy::Observe(int rank, int64_t clock, double seconds) {
  Lane& lane = lanes_[rank];
  // A gap (clocks skipped, a rank that is new): what came before is no
  // neighbour of what comes now.
  if (clock != lane.next) lane.seconds.clear();
  lane.next = clock + 1;
  lane.seconds.push_back(std::max(seconds, 0.0));
  if (lane.seconds.size() > 4 * kWindow) lane.seconds.pop_front();
}

std::optional<int> StalenessPolicy::Propose() {
  if (lanes_.size() < 2) return std::nullopt;
  // The newest clock that everyone has reported.
  int64_t last = std::numeric_limits<int64_t>::max();
  for (const auto& [rank, lane] : lanes_) last = std::min(last, lane.next);
  if (last < considered_ + kWindow) return std::nullopt;
  std::vector<std::vector<double>> seconds;
  for (const auto& [rank, lane] : lanes_) {
    const int64_t first = lane.next - static_cast<int64_t>(lane.seconds.size());
    if (first > last - kWindow) return std::nullopt;  // not yet known so far
    const auto begin = lane.seconds.begin() + (last - kWindow - first);
    seconds.emplace_back(begin, begin + kWindow);
  }
  considered_ = last;

  double best = 0;
  std::vector<double> rates;
  for (int s = lower_; s <= upper_; ++s) {
    rates.push_back(ReplayRate(seconds, s));
    best = std::max(best, rates.back());
  }
  int wanted = lower_;
  while (rates[wanted - lower_] < best * (1 - kWorthwhile)) ++wanted;
  const bool again = wanted == agreed_;
  agreed_ = wanted;
  if (wanted == current_ || !again) return std::nullopt;
  // Less slack is fresher, so it needs no gain; more must pay.
  const double now =
      current_ >= lower_ && current_ <= upper_ ? rates[current_ - lower_] : 0;
  if (wanted > current_ && rates[wanted - lower_] < now * (1 + kWorthwhile)) {
    return std::nullopt;
  }
  current_ = wanted;
  return wanted;
}

}  // namespace cssp
