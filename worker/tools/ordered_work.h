// Work on several threads whose results come out in order.
#ifndef CSSP_WORKER_TOOLS_ORDERED_WORK_H_
#define CSSP_WORKER_TOOLS_ORDERED_WORK_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/status_macros.h"
#include "common/base/thread.h"

namespace cssp {

// make(0) .. make(count - 1) on `threads` threads, at once; take(i, result) on
// the calling thread, i ascending.  The first status of `take` that is not ok
// ends it.  At most four results a thread wait.
//
// Thread-safe (monitor) inside; one Run per object.
template <class Result>
class OrderedWork {
 public:
  using Make = std::function<Result(int64_t)>;
  using Take = std::function<absl::Status(int64_t, Result)>;

  // REQUIRES: threads >= 1.
  OrderedWork(int64_t count, int threads)
      : count_(count), threads_(threads), slots_(4 * size_t{1} * threads) {}

  absl::Status Run(const Make& make, const Take& take) {
    std::vector<Thread> workers;
    for (int i = 0; i < threads_; ++i)
      workers.emplace_back(absl::StrCat("work-", i), [&] { Work(make); });
    absl::Status status;
    for (int64_t i = 0; i < count_ && status.ok(); ++i)
      status = take(i, Await(i));
    absl::MutexLock lock(&mu_);
    stopped_ = true;  // the threads are joined as `workers` goes
    return status;
  }

 private:
  std::optional<Result>& SlotOf(int64_t i) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return slots_[static_cast<size_t>(i) % slots_.size()];
  }

  bool MayBegin() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return stopped_ || begun_ == count_ ||
           begun_ < taken_ + static_cast<int64_t>(slots_.size());
  }

  void Work(const Make& make) ABSL_LOCKS_EXCLUDED(mu_) {
    while (true) {
      int64_t mine = 0;
      {
        absl::MutexLock lock(&mu_);
        mu_.Await(absl::Condition(this, &OrderedWork::MayBegin));
        if (stopped_ || begun_ == count_) return;
        mine = begun_++;
      }
      Result result = make(mine);
      absl::MutexLock lock(&mu_);
      SlotOf(mine) = std::move(result);
    }
  }

  Result Await(int64_t i) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    std::optional<Result>& slot = SlotOf(i);
    const auto arrived = [&slot] { return slot.has_value(); };
    mu_.Await(absl::Condition(&arrived));
    Result result = *std::move(slot);
    slot.reset();
    ++taken_;
    return result;
  }

  const int64_t count_;
  const int threads_;
  absl::Mutex mu_;
  std::vector<std::optional<Result>> slots_ ABSL_GUARDED_BY(mu_);
  int64_t begun_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t taken_ ABSL_GUARDED_BY(mu_) = 0;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace cssp

#endif  // CSSP_WORKER_TOOLS_ORDERED_WORK_H_
