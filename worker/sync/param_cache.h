// Where fresh weights land, and how they reach the net's slab.
//
// No array is both read by kernels and written by the network: an arriving
// version lands in a spare slot of its chunk; the training thread copies it
// into the slab just before the chunk's first use in a clock.
#ifndef CSSP_WORKER_SYNC_PARAM_CACHE_H_
#define CSSP_WORKER_SYNC_PARAM_CACHE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "common/base/time_source.h"
#include "common/ps/freshness.h"
#include "common/ps/slab_layout.h"

namespace cssp {

// Thread-safe (monitor): the comm thread receives, the training thread reads;
// both touch the arrays outside the lock, never the same slot.
//
// Invariants, for a read of clock c with staleness s:
// 1. what is installed holds every update of clocks < c - s and, in PER_PUSH,
//    all of the worker's own of clocks < c (ps::Freshness); in PER_CLOCK it is
//    a version v with c - s <= v <= c (overtakable, or after
//    AdmitNewer: c - s <= v);
// 2. a chunk keeps one version for the whole of a clock;
// 3. a slot is free, receiving, ready or being installed.
class ParamCache {
 public:
  // `slab` is the net's weight slab; borrowed.  `overtakable`: a read may find
  // a version beyond its clock (backup workers: that clock was closed without
  // us, what we compute for it will be dropped).
  ParamCache(const ps::SlabLayout& layout, absl::Span<float> slab,
             int64_t staleness, bool overtakable = false);

  // ---- comm thread ----
  // Memory for an arriving version.  Null: the same or a newer one is there or
  // on its way, or (`*lost` true) all slots are in use: ask for it again.
  float* BeginArrival(int chunk, const ps::Freshness& fresh, bool* lost)
      ABSL_LOCKS_EXCLUDED(mu_);
  // The array is complete, or (`ok` false) will never be.
  void EndArrival(int chunk, const float* memory, bool ok)
      ABSL_LOCKS_EXCLUDED(mu_);

  // ---- training thread ----
  // Whether a read of `clock` would go through now without a wait.
  bool Fit(int chunk, int64_t clock) const ABSL_LOCKS_EXCLUDED(mu_);
  struct Read {
    int64_t version = 0;  // clocks of which every update is in
    bool changed = false;          // its slab contents are new in this clock
    bool first = false;            // first read of this chunk in this clock
    absl::Duration waited;         // all of it
    absl::Duration waited_fresh;   // the part beyond the bound
  };
  // Installs a version of `chunk` fit for `clock`.  Once the bound is met it
  // still waits for version `clock` itself, until `fresh_deadline`.
  absl::StatusOr<Read> Install(int chunk, int64_t clock,
                               absl::Time fresh_deadline, TimeSource& time)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Version in the slab, -1 before the first.
  int64_t installed(int chunk) const { return installed_[chunk].row; }
  // Oldest version in the slab over all chunks.
  int64_t oldest_installed() const;

  // Staleness from `clock` on (an order).
  void SetStaleness(int64_t staleness, int64_t clock) ABSL_LOCKS_EXCLUDED(mu_);
  // The server has nothing older than `version` for a reader that repeats an
  // earlier clock (its own part of it is in): such readers may use it.
  void AdmitNewer(int64_t version) ABSL_LOCKS_EXCLUDED(mu_);
  // Ends every wait, now and later, with `status`.
  void Fail(absl::Status status) ABSL_LOCKS_EXCLUDED(mu_);
  // Newest that has arrived and is not yet installed.
  ps::Freshness newest(int chunk) const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  enum class SlotState { kFree, kReceiving, kReady, kInstalling };
  struct Slot {
    SlotState state = SlotState::kFree;
    ps::Freshness fresh;
    float* memory = nullptr;
  };
  static constexpr int kSlots = 3;
  using Slots = std::array<Slot, kSlots>;

  const Slot* NewestReadyLocked(int chunk, int64_t clock) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Newest that a read of `clock` could use, in slab or slots.
  ps::Freshness BestLocked(int chunk, int64_t clock) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Newest version that a reader of `clock` may use.
  int64_t NewestUsableLocked(int64_t clock) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  int64_t StalenessLocked(int64_t clock) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status AwaitLocked(int chunk, int64_t clock, int64_t staleness,
                           absl::Time deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const ps::SlabLayout& layout_;
  const absl::Span<float> slab_;
  const bool overtakable_;
  std::unique_ptr<float[]> arena_;
  std::vector<ps::Freshness> installed_;  // training thread
  std::vector<int64_t> read_clock_;  // training thread: last clock read for
  std::vector<int64_t> changed_clock_;  // training thread: last clock with news
  mutable absl::Mutex mu_;
  std::vector<Slots> slots_ ABSL_GUARDED_BY(mu_);
  int64_t reading_ ABSL_GUARDED_BY(mu_) = -1;  // highest clock read for
  int64_t admitted_ ABSL_GUARDED_BY(mu_) = -1;
  int64_t staleness_ ABSL_GUARDED_BY(mu_);
  int64_t next_staleness_ ABSL_GUARDED_BY(mu_);
  int64_t next_from_ ABSL_GUARDED_BY(mu_);
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
};

}  // namespace cssp

#endif  // CSSP_WORKER_SYNC_PARAM_CACHE_H_
