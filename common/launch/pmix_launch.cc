#include "common/launch/pmix_launch.h"

#include <pmix.h>

#include <cstring>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

constexpr size_t kMaxValueBytes = size_t{64} << 10;
// A Get may answer "not found" while the other rank is on its way: asked again.
constexpr absl::Duration kRetryAfter = absl::Milliseconds(50);

absl::Status FromPmix(pmix_status_t rc, absl::string_view what) {
  if (rc == PMIX_SUCCESS) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("PMIx: ", what, ": ", PMIx_Error_string(rc)));
}

// Thread-safe: PMIx serialises its calls; Put's key set has a lock.
class PmixLaunch final : public Launch {
 public:
  explicit PmixLaunch(const pmix_proc_t& self) : self_(self) {}
  ~PmixLaunch() override { PMIx_Finalize(nullptr, 0); }

  absl::Status Learn() {
    ASSIGN_OR_RETURN(const uint32_t size, JobUint(PMIX_JOB_SIZE));
    size_ = static_cast<int>(size);
    LearnPeers();
    return absl::OkStatus();
  }

  int rank() const override { return static_cast<int>(self_.rank); }
  int size() const override { return size_; }
  const std::vector<int>& local_ranks() const override { return local_; }

  absl::Status Put(const std::string& key, const std::string& value) override {
    if (value.size() > kMaxValueBytes)
      return absl::InvalidArgumentError(
          absl::StrCat("value of ", key, " is too long to exchange"));
    absl::MutexLock lock(&mu_);
    if (!put_.insert(key).second)
      return absl::AlreadyExistsError(absl::StrCat("key ", key, " is put"));
    pmix_value_t wire;
    PMIX_VALUE_CONSTRUCT(&wire);
    wire.type = PMIX_STRING;
    wire.data.string = const_cast<char*>(value.c_str());  // copied by Put
    RETURN_IF_ERROR(FromPmix(PMIx_Put(PMIX_GLOBAL, key.c_str(), &wire),
                             absl::StrCat("put ", key)));
    return FromPmix(PMIx_Commit(), "commit");
  }

  absl::StatusOr<std::string> Get(int rank, const std::string& key,
                                  absl::Duration timeout) override {
    const absl::Time deadline = absl::Now() + timeout;
    while (true) {
      std::string value;
      const pmix_status_t rc = GetOnce(rank, key, deadline, &value);
      if (rc == PMIX_SUCCESS) return value;
      if (absl::Now() >= deadline)
        return absl::DeadlineExceededError(
            absl::StrCat("rank ", rank, " did not put ", key, " within ",
                         absl::FormatDuration(timeout), " (",
                         PMIx_Error_string(rc), ")"));
      absl::SleepFor(kRetryAfter);
    }
  }

 private:
  pmix_status_t GetOnce(int rank, const std::string& key, absl::Time deadline,
                        std::string* value) {
    pmix_proc_t proc = self_;
    proc.rank = static_cast<pmix_rank_t>(rank);
    int seconds = static_cast<int>(
        absl::ToInt64Seconds(deadline - absl::Now())) + 1;
    pmix_info_t info;
    PMIX_INFO_CONSTRUCT(&info);
    PMIX_INFO_LOAD(&info, PMIX_TIMEOUT, &seconds, PMIX_INT);
    pmix_value_t* found = nullptr;
    pmix_status_t rc = PMIx_Get(&proc, key.c_str(), &info, 1, &found);
    PMIX_INFO_DESTRUCT(&info);
    if (rc != PMIX_SUCCESS) return rc;
    if (found == nullptr || found->type != PMIX_STRING ||
        found->data.string == nullptr) {
      rc = PMIX_ERR_BAD_PARAM;
    } else {
      *value = found->data.string;
    }
    if (found != nullptr) PMIX_VALUE_RELEASE(found);
    return rc;
  }

  absl::StatusOr<uint32_t> JobUint(const char* key) {
    pmix_proc_t job = self_;
    job.rank = PMIX_RANK_WILDCARD;
    pmix_value_t* found = nullptr;
    RETURN_IF_ERROR(FromPmix(PMIx_Get(&job, key, nullptr, 0, &found),
                             absl::StrCat("get ", key)));
    const uint32_t value = found->data.uint32;
    PMIX_VALUE_RELEASE(found);
    return value;
  }

  // "0,1,5"; where the launcher does not say: this rank alone.
  void LearnPeers() {
    pmix_proc_t job = self_;
    job.rank = PMIX_RANK_WILDCARD;
    pmix_value_t* found = nullptr;
    if (PMIx_Get(&job, PMIX_LOCAL_PEERS, nullptr, 0, &found) == PMIX_SUCCESS) {
      for (absl::string_view text : absl::StrSplit(found->data.string, ',')) {
        int rank;
        if (absl::SimpleAtoi(text, &rank)) local_.push_back(rank);
      }
      PMIX_VALUE_RELEASE(found);
    }
    if (local_.empty()) local_.push_back(rank());
  }

  const pmix_proc_t self_;
  int size_ = 1;
  std::vector<int> local_;
  absl::Mutex mu_;
  std::set<std::string> put_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<Launch>> CreatePmixLaunch() {
  pmix_proc_t self;
  RETURN_IF_ERROR(FromPmix(PMIx_Init(&self, nullptr, 0), "init"));
  auto launch = std::make_unique<PmixLaunch>(self);
  RETURN_IF_ERROR(launch->Learn());
  return launch;
}

}  // namespace cssp
