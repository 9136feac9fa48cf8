// The in-memory store: for simulations and tests; framed like the real one.
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "server/storage/param_store.h"
#include "server/storage/value_frame.h"

namespace cssp {
namespace {

// Thread-safe (monitor).
class MemoryParamStore final : public ParamStore {
 public:
  absl::Status Write(const std::vector<StoreEntry>& entries, bool) override {
    absl::MutexLock lock(&mu_);
    for (const StoreEntry& entry : entries)
      records_[entry.key] = FrameValue(entry.key, entry.value);
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Get(absl::string_view key) const override {
    absl::MutexLock lock(&mu_);
    const auto it = records_.find(std::string(key));
    if (it == records_.end())
      return absl::NotFoundError(absl::StrCat("no record '", key, "'"));
    return UnframeValue(key, it->second);
  }

  absl::StatusOr<std::vector<std::string>> List(
      absl::string_view prefix) const override {
    absl::MutexLock lock(&mu_);
    std::vector<std::string> keys;
    for (auto it = records_.lower_bound(std::string(prefix));
         it != records_.end() && absl::StartsWith(it->first, prefix); ++it)
      keys.push_back(it->first);
    return keys;
  }

  absl::Status DeletePrefix(absl::string_view prefix) override {
    absl::MutexLock lock(&mu_);
    auto it = records_.lower_bound(std::string(prefix));
    while (it != records_.end() && absl::StartsWith(it->first, prefix))
      it = records_.erase(it);
    return absl::OkStatus();
  }

  absl::Status Sync() override { return absl::OkStatus(); }

 private:
  mutable absl::Mutex mu_;
  std::map<std::string, std::string> records_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

std::unique_ptr<ParamStore> MakeMemoryStore() {
  return std::make_unique<MemoryParamStore>();
}

}  // namespace cssp
