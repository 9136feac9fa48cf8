#include "worker/sync/param_cache.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {

ParamCache::ParamCache(const ps::SlabLayout& layout, absl::Span<float> slab,
                       int64_t staleness, bool overtakable)
    : layout_(layout),
      slab_(slab),
      overtakable_(overtakable),
      arena_(new float[static_cast<size_t>(layout.size()) * kSlots]),
      installed_(layout.chunks().size()),
      read_clock_(layout.chunks().size(), -1),
      changed_clock_(layout.chunks().size(), -1),
      slots_(layout.chunks().size()),
      staleness_(staleness),
      next_staleness_(staleness),
      next_from_(std::numeric_limits<int64_t>::max()) {
  for (size_t chunk = 0; chunk < slots_.size(); ++chunk)
    for (int k = 0; k < kSlots; ++k)
      slots_[chunk][k].memory =
          arena_.get() + layout.size() * k + layout.chunks()[chunk].offset;
}

float* ParamCache::BeginArrival(int chunk, const ps::Freshness& fresh,
                                bool* lost) {
  absl::MutexLock lock(&mu_);
  *lost = false;
  const int64_t usable = NewestUsableLocked(reading_);
  Slot* best = nullptr;
  for (Slot& slot : slots_[chunk]) {
    // The same or a newer version, that may be used as well, is here or on its
    // way: nothing is lost.
    const bool same_or_newer = !fresh.NewerThan(slot.fresh);
    const bool newer = slot.fresh.NewerThan(fresh);
    if (slot.state != SlotState::kFree && same_or_newer &&
        (!newer || slot.fresh.row <= usable))
      return nullptr;
    // An older version that waits to be used gives way only when nothing is
    // free.
    if (slot.state == SlotState::kFree) {
      best = &slot;
    } else if (slot.state == SlotState::kReady &&
               (best == nullptr || (best->state == SlotState::kReady &&
                                    best->fresh.NewerThan(slot.fresh)))) {
      best = &slot;
    }
  }
  *lost = best == nullptr;
  if (best == nullptr) return nullptr;
  best->state = SlotState::kReceiving;
  best->fresh = fresh;
  return best->memory;
}

void ParamCache::EndArrival(int chunk, const float* memory, bool ok) {
  absl::MutexLock lock(&mu_);
  const int64_t usable = NewestUsableLocked(reading_);
  ps::Freshness newest{.row = -1, .own = -1};
  for (Slot& slot : slots_[chunk]) {
    if (slot.memory == memory && slot.state == SlotState::kReceiving)
      slot.state = ok ? SlotState::kReady : SlotState::kFree;
    if (slot.state == SlotState::kReady && slot.fresh.row <= usable &&
        slot.fresh.NewerThan(newest))
      newest = slot.fresh;
  }
  // Readers never go back: what is older than the newest that they may use is
  // of no use.
  for (Slot& slot : slots_[chunk])
    if (slot.state == SlotState::kReady && newest.NewerThan(slot.fresh))
      slot.state = SlotState::kFree;
}

const ParamCache::Slot* ParamCache::NewestReadyLocked(int chunk,
                                                      int64_t clock) const {
  const Slot* best = nullptr;
  const int64_t usable = NewestUsableLocked(clock);
  for (const Slot& slot : slots_[chunk]) {
    if (slot.state != SlotState::kReady || slot.fresh.row > usable) continue;
    if (best == nullptr || slot.fresh.NewerThan(best->fresh)) best = &slot;
  }
  return best;
}

ps::Freshness ParamCache::BestLocked(int chunk, int64_t clock) const {
  const Slot* ready = NewestReadyLocked(chunk, clock);
  const ps::Freshness& installed = installed_[chunk];
  return ready != nullptr && ready->fresh.NewerThan(installed) ? ready->fresh
                                                               : installed;
}

bool ParamCache::Fit(int chunk, int64_t clock) const {
  absl::MutexLock lock(&mu_);
  return BestLocked(chunk, clock).FitFor(clock, StalenessLocked(clock));
}

int64_t ParamCache::NewestUsableLocked(int64_t clock) const {
  if (overtakable_) return std::numeric_limits<int64_t>::max();
  return std::max(clock, admitted_);
}

void ParamCache::AdmitNewer(int64_t version) {
  absl::MutexLock lock(&mu_);
  admitted_ = std::max(admitted_, version);
}

int64_t ParamCache::StalenessLocked(int64_t clock) const {
  return clock >= next_from_ ? next_staleness_ : staleness_;
}

absl::Status ParamCache::AwaitLocked(int chunk, int64_t clock,
                                     int64_t staleness, absl::Time deadline) {
  const auto there = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    mu_.AssertHeld();
    return !failure_.ok() ||
           BestLocked(chunk, clock).FitFor(clock, staleness);
  };
  mu_.AwaitWithDeadline(absl::Condition(&there), deadline);
  return failure_;
}

absl::StatusOr<ParamCache::Read> ParamCache::Install(
    int chunk, int64_t clock, absl::Time fresh_deadline, TimeSource& time) {
  Read read;
  if (read_clock_[chunk] == clock) {
    read.version = installed_[chunk].row;
    read.changed = changed_clock_[chunk] == clock;
    return read;
  }
  Slot* slot;
  {
    absl::MutexLock lock(&mu_);
    RETURN_IF_ERROR(failure_);
    reading_ = std::max(reading_, clock);
    const absl::Time begin = time.Now();
    RETURN_IF_ERROR(AwaitLocked(chunk, clock, StalenessLocked(clock),
                                absl::InfiniteFuture()));
    const absl::Time met = time.Now();
    if (!BestLocked(chunk, clock).FitFor(clock, 0) && met < fresh_deadline) {
      RETURN_IF_ERROR(AwaitLocked(chunk, clock, 0,
                                  absl::Now() + (fresh_deadline - met)));
      read.waited_fresh = time.Now() - met;
    }
    read.waited = (met - begin) + read.waited_fresh;
    slot = const_cast<Slot*>(NewestReadyLocked(chunk, clock));
    if (slot != nullptr && !slot->fresh.NewerThan(installed_[chunk])) {
      slot->state = SlotState::kFree;
      slot = nullptr;
    }
    if (slot != nullptr) slot->state = SlotState::kInstalling;
  }
  if (slot != nullptr) {
    const ps::Chunk& where = layout_.chunks()[chunk];
    std::memcpy(&slab_[where.offset], slot->memory,
                static_cast<size_t>(where.count) * sizeof(float));
    absl::MutexLock lock(&mu_);
    installed_[chunk] = slot->fresh;
    slot->state = SlotState::kFree;
    changed_clock_[chunk] = clock;
    read.changed = true;
  }
  read_clock_[chunk] = clock;
  read.first = true;
  read.version = installed_[chunk].row;
  return read;
}

int64_t ParamCache::oldest_installed() const {
  int64_t oldest = std::numeric_limits<int64_t>::max();
  for (const ps::Freshness& fresh : installed_)
    oldest = std::min(oldest, fresh.row);
  return oldest;
}

void ParamCache::SetStaleness(int64_t staleness, int64_t clock) {
  absl::MutexLock lock(&mu_);
  // The earlier order has taken effect by the time the next one is given.
  if (next_from_ != std::numeric_limits<int64_t>::max())
    staleness_ = next_staleness_;
  next_staleness_ = staleness;
  next_from_ = clock;
}

void ParamCache::Fail(absl::Status status) {
  absl::MutexLock lock(&mu_);
  if (failure_.ok()) failure_ = std::move(status);
}

ps::Freshness ParamCache::newest(int chunk) const {
  absl::MutexLock lock(&mu_);
  ps::Freshness newest{.row = -1, .own = -1};
  for (const Slot& slot : slots_[chunk]) {
    const bool here = slot.state == SlotState::kReady ||
                      slot.state == SlotState::kInstalling;
    if (here && slot.fresh.NewerThan(newest)) newest = slot.fresh;
  }
  return newest;
}

}  // namespace cssp
