// LevelDB bases.  LevelDB allows one process a directory, so a job of several
// workers on one machine wants LMDB.
#include <leveldb/db.h>
#include <leveldb/iterator.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/data/base_check.h"
#include "worker/data/data_source.h"
#include "worker/data/datum_codec.h"

namespace cssp {
namespace {

absl::Status FromLevelDb(const leveldb::Status& status,
                         const std::string& path) {
  if (status.ok()) return absl::OkStatus();
  const std::string text = status.ToString();
  if (absl::StrContains(text, "LOCK")) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, ": another opener holds this LevelDB base, which allows only "
        "one: use an LMDB base, or one process (", text, ")"));
  }
  const std::string message = absl::StrCat(path, ": LevelDB: ", text);
  if (status.IsCorruption() || status.IsInvalidArgument())
    return absl::DataLossError(message);
  return absl::InternalError(message);
}

// Immutable once opened.
class LevelDbSource final : public DataSource {
 public:
  LevelDbSource(std::string path, ColorMode mode)
      : path_(std::move(path)), mode_(mode) {}

  absl::Status Open() {
    leveldb::Options options;
    options.create_if_missing = false;
    options.max_open_files = 100;
    options.paranoid_checks = true;  // a lost table is an error, not a gap
    leveldb::DB* db = nullptr;
    RETURN_IF_ERROR(
        FromLevelDb(leveldb::DB::Open(options, path_, &db), path_));
    db_.reset(db);
    return BuildIndex();
  }

  int64_t size() const override { return static_cast<int64_t>(keys_.size()); }

  absl::StatusOr<RecordView> Read(int64_t index,
                                  std::string* storage) const override {
    leveldb::ReadOptions options;
    options.verify_checksums = true;
    const leveldb::Status got = db_->Get(options, keys_[index], storage);
    if (!got.ok()) return Named(index, FromLevelDb(got, path_));
    std::string unpacked;
    absl::StatusOr<RecordView> record = ParseDatum(*storage, &unpacked, mode_);
    if (!record.ok()) return Named(index, record.status());
    if (unpacked.empty()) return record;
    *storage = std::move(unpacked);
    if (record->bytes.empty()) {
      record->floats = absl::MakeConstSpan(
          reinterpret_cast<const float*>(storage->data()),
          record->floats.size());
    } else {
      record->bytes = *storage;
    }
    return record;
  }

 private:
  absl::Status Named(int64_t index, const absl::Status& status) const {
    return Annotate(status, absl::StrCat(path_, ": record ", index, " (key '",
                                         absl::CHexEscape(keys_[index]), "')"));
  }

  absl::Status BuildIndex() {
    leveldb::ReadOptions options;
    options.fill_cache = false;
    std::unique_ptr<leveldb::Iterator> it(db_->NewIterator(options));
    for (it->SeekToFirst(); it->Valid(); it->Next())
      keys_.push_back(it->key().ToString());
    RETURN_IF_ERROR(FromLevelDb(it->status(), path_));
    if (!keys_.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ": the base holds no records"));
  }

  const std::string path_;
  const ColorMode mode_;
  std::unique_ptr<leveldb::DB> db_;
  std::vector<std::string> keys_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<DataSource>> OpenLevelDb(
    const std::string& path, ColorMode mode) {
  RETURN_IF_ERROR(CheckBaseExists(BaseFormat::kLevelDb, path));
  auto source = std::make_unique<LevelDbSource>(path, mode);
  RETURN_IF_ERROR(source->Open());
  return source;
}

}  // namespace cssp
