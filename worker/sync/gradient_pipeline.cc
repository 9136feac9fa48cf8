#include "worker/sync/gradient_pipeline.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace cssp {

GradientPipeline::GradientPipeline(
    const ps::SlabLayout& layout,
    std::function<void(int chunk, int64_t clock)> send)
    : layout_(layout),
      send_(std::move(send)),
      params_of_(layout.chunks().size(), 0) {
  for (size_t chunk = 0; chunk < params_of_.size(); ++chunk)
    params_of_[chunk] = static_cast<int>(layout.chunks()[chunk].segments.size());
}

void GradientPipeline::BeginClock(int64_t clock) {
  if (clock_ == clock) return;
  clock_ = clock;
  missing_ = params_of_;
}

absl::StatusOr<absl::Duration> GradientPipeline::AwaitSlot(int64_t clock) {
  BeginClock(clock);
  absl::MutexLock lock(&mu_);
  const int generation = static_cast<int>(clock % 2);
  const auto free = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return outstanding_[generation] == 0 || !failure_.ok();
  };
  absl::Duration waited;
  if (!free()) {
    const absl::Time begin = absl::Now();
    mu_.Await(absl::Condition(&free));
    waited = absl::Now() - begin;
  }
  RETURN_IF_ERROR(failure_);
  return waited;
}

void GradientPipeline::Ready(int param, int64_t clock) {
  BeginClock(clock);
  for (int chunk = layout_.first_chunk_of(param);
       chunk <= layout_.last_chunk_of(param); ++chunk) {
    DCHECK_GT(missing_[chunk], 0) << "parameter signalled twice";
    if (--missing_[chunk] == 0) SendChunk(chunk, clock);
  }
}

void GradientPipeline::Flush(int64_t clock) {
  BeginClock(clock);
  for (size_t chunk = 0; chunk < missing_.size(); ++chunk) {
    if (missing_[chunk] <= 0) continue;
    missing_[chunk] = 0;
    SendChunk(static_cast<int>(chunk), clock);
  }
}

void GradientPipeline::CountSend(int64_t clock) {
  absl::MutexLock lock(&mu_);
  ++outstanding_[static_cast<size_t>(clock % 2)];
}

void GradientPipeline::SendChunk(int chunk, int64_t clock) {
  CountSend(clock);
  send_(chunk, clock);
}

void GradientPipeline::Done(int chunk, int64_t clock) {
  absl::MutexLock lock(&mu_);
  --outstanding_[static_cast<size_t>(clock % 2)];
}

absl::Status GradientPipeline::AwaitAll(absl::Duration timeout) {
  absl::MutexLock lock(&mu_);
  const auto all = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return (outstanding_[0] == 0 && outstanding_[1] == 0) || !failure_.ok();
  };
  const bool done = mu_.AwaitWithTimeout(absl::Condition(&all), timeout);
  RETURN_IF_ERROR(failure_);
  if (done) return absl::OkStatus();
  return absl::DeadlineExceededError(
      absl::StrCat(outstanding_[0] + outstanding_[1],
                   " pushes are not acknowledged after ",
                   absl::FormatDuration(timeout)));
}

void GradientPipeline::Fail(absl::Status status) {
  absl::MutexLock lock(&mu_);
  if (failure_.ok()) failure_ = std::move(status);
}

}  // namespace cssp
