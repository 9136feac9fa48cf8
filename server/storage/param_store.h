// Durable key-value storage of a ps-server: checkpoints' chunks and, on the
// coordinator, jobs, orders and manifests.
#ifndef CSSP_SERVER_STORAGE_PARAM_STORE_H_
#define CSSP_SERVER_STORAGE_PARAM_STORE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cssp {

struct StoreEntry {
  std::string key;
  std::string value;
};

// Thread-safe.  Values are guarded by a CRC: a Get of a damaged one is DataLoss.
class ParamStore {
 public:
  virtual ~ParamStore() = default;
  // Atomic; durable when it returns if `sync`.  ResourceExhausted when the
  // quota or the disk is full: nothing is written, reads go on.
  virtual absl::Status Write(const std::vector<StoreEntry>& entries,
                             bool sync) = 0;
  // NotFound, DataLoss.
  virtual absl::StatusOr<std::string> Get(absl::string_view key) const = 0;
  // Keys with the prefix, sorted.
  virtual absl::StatusOr<std::vector<std::string>> List(
      absl::string_view prefix) const = 0;
  virtual absl::Status DeletePrefix(absl::string_view prefix) = 0;
  // Makes everything written so far durable.
  virtual absl::Status Sync() = 0;
};

struct RocksDbOptions {
  std::string directory;
  uint64_t max_bytes = 0;         // 0: no quota of our own
  uint64_t min_free_bytes = 256u << 20;  // refuses writes below this
};
absl::StatusOr<std::unique_ptr<ParamStore>> OpenRocksDbStore(
    const RocksDbOptions& options);
// Another process's store, as it was when this opens it: Write and Delete are
// FailedPrecondition.  NotFound when the directory holds no store.
absl::StatusOr<std::unique_ptr<ParamStore>> OpenRocksDbStoreReadOnly(
    const std::string& directory);
std::unique_ptr<ParamStore> MakeMemoryStore();

}  // namespace cssp

#endif  // CSSP_SERVER_STORAGE_PARAM_STORE_H_
