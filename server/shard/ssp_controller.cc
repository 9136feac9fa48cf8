#include "server/shard/ssp_controller.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/shard/vector_clock.h"

namespace cssp {

SspController::SspController(int num_workers, int64_t staleness)
    : staleness_(staleness), clocks_(num_workers, 0) {}

void SspController::Tick(int worker) {
  absl::MutexLock lock(&mu_);
  if (clocks_[worker] != kClockInfinity) ++clocks_[worker];
  UpdateMinLocked();
}

void SspController::Finish(int worker) {
  absl::MutexLock lock(&mu_);
  clocks_[worker] = kClockInfinity;
  UpdateMinLocked();
}

void SspController::SetStaleness(int64_t staleness) {
  absl::MutexLock lock(&mu_);
  staleness_ = staleness;
}

absl::Status SspController::AwaitReadable(int64_t clock, absl::Time deadline) {
  absl::MutexLock lock(&mu_);
  const auto readable = [this, clock]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return min_clock_ >= clock - staleness_;
  };
  if (mu_.AwaitWithDeadline(absl::Condition(&readable), deadline)) {
    return absl::OkStatus();
  }
  const auto slowest = std::min_element(clocks_.begin(), clocks_.end());
  return absl::DeadlineExceededError(
      absl::StrCat("clock ", clock, " waits for worker ",
                   slowest - clocks_.begin(), ", which has committed ",
                   *slowest, " clocks (staleness ", staleness_, ")"));
}

int64_t SspController::min_clock() const {
  absl::MutexLock lock(&mu_);
  return min_clock_;
}

void SspController::UpdateMinLocked() {
  min_clock_ = *std::min_element(clocks_.begin(), clocks_.end());
}

}  // namespace cssp
