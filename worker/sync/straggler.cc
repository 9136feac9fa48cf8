#include "worker/sync/straggler.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace cssp {
namespace {

constexpr size_t kWindow = 15;
constexpr double kMaxFactor = 1000;
constexpr double kMaxBaseMs = 60000;
constexpr double kSlowShare = 0.05;

// In [0, 1), by SplitMix64.
double Uniform(int rank, int64_t clock) {
  uint64_t z = static_cast<uint64_t>(clock) * 4096 + rank + 1;
  z *= 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1.0p-53;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Straggler>> Straggler::Parse(
    const std::string& text, int workers) {
  if (text.empty()) return std::unique_ptr<Straggler>();
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(text, absl::MaxSplits(':', 1));
  const std::pair<std::string, std::string> amount =
      absl::StrSplit(parts.second, absl::MaxSplits('@', 1));
  int rank = -1;
  double factor = 0;
  double base_ms = 0;
  Who who = Who::kRank;
  bool known = true;
  if (parts.first == "rotating") {
    who = Who::kRotating;
  } else if (parts.first == "random") {
    who = Who::kRandom;
  } else if (parts.first == "exponential") {
    who = Who::kExponential;
  } else {
    known = absl::SimpleAtoi(parts.first, &rank) && rank >= 0 && rank < workers;
  }
  const bool base = !absl::StrContains(parts.second, '@') ||
                    (absl::SimpleAtod(amount.second, &base_ms) && base_ms > 0 &&
                     base_ms <= kMaxBaseMs);
  if (!known || !base || !absl::SimpleAtod(amount.first, &factor) ||
      !(factor >= 1) || factor > kMaxFactor)
    return absl::InvalidArgumentError(absl::StrCat(
        "straggler must be RANK:FACTOR, rotating:, random: or "
        "exponential:FACTOR, with @MS or without, a rank below ",
        workers, " and a factor of at least 1, not '", text, "'"));
  return std::unique_ptr<Straggler>(
      new Straggler(who, rank, factor, absl::Milliseconds(base_ms), workers));
}

double Straggler::Stretch(int rank, int64_t clock) const {
  switch (who_) {
    case Who::kRank:
      return rank == rank_ ? factor_ : 1;
    case Who::kRotating:
      return clock % workers_ == rank ? factor_ : 1;
    case Who::kRandom:
      return Uniform(rank, clock) < kSlowShare ? factor_ : 1;
    case Who::kExponential:
      return 1 - (factor_ - 1) * std::log(1 - Uniform(rank, clock));
  }
  return 1;
}

absl::Duration Straggler::Extra(int rank, int64_t clock, double work) const {
  const double stretch = Stretch(rank, clock);
  if (base_ > absl::ZeroDuration()) return base_ * stretch * work;
  if (stretch <= 1 || computes_.empty()) return absl::ZeroDuration();
  std::vector<absl::Duration> sorted(computes_.begin(), computes_.end());
  std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2,
                   sorted.end());
  return sorted[sorted.size() / 2] * (stretch - 1) * work;
}

void Straggler::Observe(absl::Duration compute, double work) {
  computes_.push_back(std::max(compute, absl::ZeroDuration()) / work);
  if (computes_.size() > kWindow) computes_.pop_front();
}

}  // namespace cssp
