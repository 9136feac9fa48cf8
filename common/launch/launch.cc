#include "common/launch/launch.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/status_macros.h"
#include "common/launch/pmix_launch.h"

namespace cssp {
namespace {

// A launch of one.  Thread-safe (monitor).
class SingleLaunch final : public Launch {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  const std::vector<int>& local_ranks() const override { return local_; }
  absl::Status Put(const std::string& key, const std::string& value) override {
    absl::MutexLock lock(&mu_);
    if (!values_.emplace(key, value).second)
      return absl::AlreadyExistsError(absl::StrCat("key ", key, " is put"));
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> Get(int rank, const std::string& key,
                                  absl::Duration timeout) override {
    if (rank != 0)
      return absl::InvalidArgumentError(
          absl::StrCat("no rank ", rank, " in a launch of one"));
    absl::MutexLock lock(&mu_);
    const auto there = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      return values_.count(key) > 0;
    };
    if (!mu_.AwaitWithTimeout(absl::Condition(&there), timeout))
      return absl::DeadlineExceededError(
          absl::StrCat("rank 0 did not put ", key));
    return values_[key];
  }

 private:
  const std::vector<int> local_{0};
  absl::Mutex mu_;
  std::map<std::string, std::string> values_ ABSL_GUARDED_BY(mu_);
};

absl::Status CheckSize(const LaunchEnvironment& environment, int size) {
  if (environment.slurm_tasks <= 1 || size > 1) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "Slurm started ", environment.slurm_tasks,
      " tasks but each sees only itself: use srun --mpi=pmix"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Launch>> Launch::Create(
    const LaunchEnvironment& environment) {
  std::unique_ptr<Launch> launch;
  if (environment.has_pmix) {
    ASSIGN_OR_RETURN(launch, CreatePmixLaunch());
  } else {
    launch = std::make_unique<SingleLaunch>();
  }
  RETURN_IF_ERROR(CheckSize(environment, launch->size()));
  return launch;
}

int Launch::local_rank() const {
  const std::vector<int>& ranks = local_ranks();
  return static_cast<int>(std::find(ranks.begin(), ranks.end(), rank()) -
                          ranks.begin());
}

}  // namespace cssp
