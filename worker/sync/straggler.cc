#include "worker/sync/straggler.h"

#include <algorithm>
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
  const bool who = parts.first == "rotating" ||
                   (absl::SimpleAtoi(parts.first, &rank) && rank >= 0 &&
                    rank < workers);
  const bool base = !absl::StrContains(parts.second, '@') ||
                    (absl::SimpleAtod(amount.second, &base_ms) && base_ms > 0 &&
                     base_ms <= kMaxBaseMs);
  if (!who || !base || !absl::SimpleAtod(amount.first, &factor) ||
      !(factor >= 1) || factor > kMaxFactor)
    return absl::InvalidArgumentError(absl::StrCat(
        "straggler must be RANK:FACTOR or rotating:FACTOR, with @MS or "
        "without, a rank below ",
        workers, " and a factor of at least 1, not '", text, "'"));
  return std::unique_ptr<Straggler>(
      new Straggler(rank, factor, absl::Milliseconds(base_ms), workers));
}

absl::Duration Straggler::Extra(int rank, int64_t clock) const {
  const bool slow = rank_ < 0 ? clock % workers_ == rank : rank == rank_;
  if (base_ > absl::ZeroDuration()) return base_ * (slow ? factor_ : 1);
  if (!slow || computes_.empty()) return absl::ZeroDuration();
  std::vector<absl::Duration> sorted(computes_.begin(), computes_.end());
  std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2,
                   sorted.end());
  return sorted[sorted.size() / 2] * (factor_ - 1);
}

void Straggler::Observe(absl::Duration compute) {
  computes_.push_back(std::max(compute, absl::ZeroDuration()));
  if (computes_.size() > kWindow) computes_.pop_front();
}

}  // namespace cssp
