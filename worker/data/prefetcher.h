// Reads batches ahead of training.
#ifndef CSSP_WORKER_DATA_PREFETCHER_H_
#define CSSP_WORKER_DATA_PREFETCHER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/thread.h"
#include "common/base/time_source.h"
#include "worker/data/batch.h"

namespace cssp {

class Prefetcher;

// A batch that is the holder's until the lease goes; then its memory is read
// into again.  Movable; must not outlive the prefetcher.
class BatchLease {
 public:
  BatchLease(Prefetcher* owner, std::unique_ptr<Batch> batch)
      : owner_(owner), batch_(std::move(batch)) {}
  BatchLease(BatchLease&&) = default;
  BatchLease& operator=(BatchLease&&) = delete;
  ~BatchLease();

  const Batch& operator*() const { return *batch_; }
  const Batch* operator->() const { return batch_.get(); }

 private:
  Prefetcher* owner_;
  std::unique_ptr<Batch> batch_;
};

// Thread-safe (monitor).  Its threads guess what will be asked for next: batches
// follow one another at the stride of the last two that were taken.  A wrong
// guess costs the batches read in vain, never a wrong batch.
//
// Invariant: at most `depth` batches are read ahead (being read or waiting).
class Prefetcher {
 public:
  // Reads one batch; must be safe to call from all threads at once.
  using ReadBatch = std::function<void(const BatchKey&, Batch*)>;
  struct Options {
    int depth = 4;       // >= 1
    int threads = 1;     // >= 1
    int64_t stride = 1;  // first guess: positions from one batch to the next
  };

  Prefetcher(ReadBatch read, const Options& options,
             TimeSource& time = TimeSource::Real());
  ~Prefetcher();

  // Starts the threads; idempotent.  They read nothing before the first Take.
  void Start();
  // Joins the threads and frees a waiting Take; idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

  // The batch of `key`; blocks until it is read.  An error of reading it comes
  // back here; Cancelled after Stop.  REQUIRES: one thread takes.
  absl::StatusOr<BatchLease> Take(const BatchKey& key)
      ABSL_LOCKS_EXCLUDED(mu_);

  // Time that Take has blocked, in all.
  absl::Duration waited() const ABSL_LOCKS_EXCLUDED(mu_);
  // Batches read in vain: guesses that were wrong.
  int64_t wasted() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend class BatchLease;

  // A batch on its way, in the order in which they were begun; `batch` is null
  // while a thread reads it.
  struct Slot {
    BatchKey key;
    std::unique_ptr<Batch> batch;
  };

  void Run() ABSL_LOCKS_EXCLUDED(mu_);
  void Return(std::unique_ptr<Batch> batch) ABSL_LOCKS_EXCLUDED(mu_);
  void FollowLocked(const BatchKey& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Slot* FindLocked(const BatchKey& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool ArrivedLocked(const BatchKey& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool CanReadLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::unique_ptr<Batch> TakeSlotLocked(const BatchKey& key)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void DeliverLocked(std::unique_ptr<Batch> batch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const ReadBatch read_;
  const Options options_;
  TimeSource& time_;
  std::vector<Thread> threads_;

  mutable absl::Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  bool following_ ABSL_GUARDED_BY(mu_) = false;   // a first Take has come
  BatchKey last_ ABSL_GUARDED_BY(mu_);            // taken last
  BatchKey next_ ABSL_GUARDED_BY(mu_);            // to be read next
  int64_t stride_ ABSL_GUARDED_BY(mu_);
  std::vector<Slot> ahead_ ABSL_GUARDED_BY(mu_);
  std::vector<std::unique_ptr<Batch>> free_ ABSL_GUARDED_BY(mu_);
  absl::Duration waited_ ABSL_GUARDED_BY(mu_);
  int64_t wasted_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace cssp

#endif  // CSSP_WORKER_DATA_PREFETCHER_H_
