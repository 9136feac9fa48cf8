#include "worker/data/prefetcher.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"

namespace cssp {

BatchLease::~BatchLease() {
  if (batch_ != nullptr) owner_->Return(std::move(batch_));
}

Prefetcher::Prefetcher(ReadBatch read, const Options& options,
                       TimeSource& time)
    : read_(std::move(read)),
      options_(options),
      time_(time),
      stride_(options.stride) {
  CHECK_GE(options_.depth, 1);
  CHECK_GE(options_.threads, 1);
}

Prefetcher::~Prefetcher() { Stop(); }

void Prefetcher::Start() {
  if (!threads_.empty()) return;
  for (int i = 0; i < options_.threads; ++i)
    threads_.emplace_back(absl::StrCat("prefetch-", i), [this] { Run(); });
}

void Prefetcher::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopped_ = true;
  }
  for (Thread& thread : threads_) thread.Join();
}

bool Prefetcher::CanReadLocked() const {
  return stopped_ ||
         (following_ && ahead_.size() < static_cast<size_t>(options_.depth));
}

void Prefetcher::Run() {
  absl::MutexLock lock(&mu_);
  while (true) {
    mu_.Await(absl::Condition(this, &Prefetcher::CanReadLocked));
    if (stopped_) return;
    const BatchKey key = next_;
    next_.first += stride_;
    ahead_.push_back({key, nullptr});
    std::unique_ptr<Batch> batch;
    if (free_.empty()) {
      batch = std::make_unique<Batch>();
    } else {
      batch = std::move(free_.back());
      free_.pop_back();
    }
    mu_.Unlock();
    read_(key, batch.get());
    mu_.Lock();
    DeliverLocked(std::move(batch));
  }
}

// Into its slot, or, when nobody waits for it any more, to the free ones.
void Prefetcher::DeliverLocked(std::unique_ptr<Batch> batch) {
  Slot* slot = FindLocked(batch->key);
  if (slot != nullptr && slot->batch == nullptr) {
    slot->batch = std::move(batch);
    return;
  }
  ++wasted_;
  free_.push_back(std::move(batch));
}

Prefetcher::Slot* Prefetcher::FindLocked(const BatchKey& key) {
  for (Slot& slot : ahead_) {
    if (slot.key == key) return &slot;
  }
  return nullptr;
}

// `key` was not foreseen: drops what is ahead and goes on from there.  What is
// still being read finds no slot when it is done.
void Prefetcher::FollowLocked(const BatchKey& key) {
  for (Slot& slot : ahead_) {
    if (slot.batch == nullptr) continue;
    ++wasted_;
    free_.push_back(std::move(slot.batch));
  }
  ahead_.clear();
  const bool forward = following_ && key.first > last_.first;
  stride_ = forward ? key.first - last_.first : stride_;
  next_ = key;
  following_ = true;
}

bool Prefetcher::ArrivedLocked(const BatchKey& key) {
  if (stopped_) return true;
  const Slot* slot = FindLocked(key);
  return slot != nullptr && slot->batch != nullptr;
}

// REQUIRES: arrived.  Slots before it were skipped: nobody will ask for them.
std::unique_ptr<Batch> Prefetcher::TakeSlotLocked(const BatchKey& key) {
  size_t at = 0;
  for (; !(ahead_[at].key == key); ++at) {
    if (ahead_[at].batch == nullptr) continue;
    ++wasted_;
    free_.push_back(std::move(ahead_[at].batch));
  }
  std::unique_ptr<Batch> batch = std::move(ahead_[at].batch);
  ahead_.erase(ahead_.begin(), ahead_.begin() + at + 1);
  return batch;
}

absl::StatusOr<BatchLease> Prefetcher::Take(const BatchKey& key) {
  absl::MutexLock lock(&mu_);
  if (FindLocked(key) == nullptr) FollowLocked(key);
  if (!ArrivedLocked(key)) {
    const absl::Time from = time_.Now();
    const auto arrived = [this, &key]() {
      mu_.AssertHeld();
      return ArrivedLocked(key);
    };
    mu_.Await(absl::Condition(&arrived));
    waited_ += time_.Now() - from;
  }
  if (stopped_) return absl::CancelledError("reading ahead has stopped");
  std::unique_ptr<Batch> batch = TakeSlotLocked(key);
  last_ = key;
  absl::Status status = batch->status;
  if (!status.ok()) {
    free_.push_back(std::move(batch));
    return status;
  }
  return BatchLease(this, std::move(batch));
}

void Prefetcher::Return(std::unique_ptr<Batch> batch) {
  absl::MutexLock lock(&mu_);
  free_.push_back(std::move(batch));
}

absl::Duration Prefetcher::waited() const {
  absl::MutexLock lock(&mu_);
  return waited_;
}

int64_t Prefetcher::wasted() const {
  absl::MutexLock lock(&mu_);
  return wasted_;
}

}  // namespace cssp
