// ParamStore on RocksDB.
//
// Debian's RocksDB is built with assertions and aborts when the disk runs full
// under it, so room is checked here before every write: our own quota, and the
// file system's free bytes (which the SstFileManager's limit guards again).
#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/sst_file_manager.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>
#include <sys/statvfs.h>

#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/storage/param_store.h"
#include "server/storage/value_frame.h"

namespace cssp {
namespace {

absl::Status FromRocksDb(const rocksdb::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const std::string text = absl::StrCat("RocksDB: ", status.ToString());
  if (status.IsNotFound()) return absl::NotFoundError(text);
  if (status.IsCorruption()) return absl::DataLossError(text);
  if (status.IsNoSpace() ||
      status.subcode() == rocksdb::Status::SubCode::kSpaceLimit)
    return absl::ResourceExhaustedError(text);
  if (status.IsInvalidArgument() || status.IsNotSupported())
    return absl::FailedPreconditionError(text);
  return absl::UnavailableError(text);
}

rocksdb::Options MakeOptions(const RocksDbOptions& options,
                             rocksdb::Env* env) {
  rocksdb::Options rocks;
  rocks.create_if_missing = true;
  // Chunks of floats do not compress; write them once, in big files.
  rocks.compression = rocksdb::kNoCompression;
  rocks.write_buffer_size = 64u << 20;
  rocks.max_background_jobs = 2;
  rocks.keep_log_file_num = 4;
  rocks.track_and_verify_wals_in_manifest = true;
  if (options.max_bytes > 0) {
    rocks.sst_file_manager.reset(rocksdb::NewSstFileManager(env));
    rocks.sst_file_manager->SetMaxAllowedSpaceUsage(options.max_bytes);
  }
  return rocks;
}

// Thread-safe: RocksDB is; everything else is constant.
class RocksDbParamStore final : public ParamStore {
 public:
  RocksDbParamStore(RocksDbOptions options, std::unique_ptr<rocksdb::DB> db,
                    bool read_only)
      : options_(std::move(options)),
        db_(std::move(db)),
        read_only_(read_only) {}

  absl::Status Write(const std::vector<StoreEntry>& entries,
                     bool sync) override {
    if (read_only_) return ReadOnlyError();
    rocksdb::WriteBatch batch;
    for (const StoreEntry& entry : entries)
      batch.Put(entry.key, FrameValue(entry.key, entry.value));
    if (absl::Status room = CheckRoom(batch.GetDataSize()); !room.ok())
      return room;
    rocksdb::WriteOptions write;
    write.sync = sync;
    return FromRocksDb(db_->Write(write, &batch));
  }

  absl::StatusOr<std::string> Get(absl::string_view key) const override {
    std::string framed;
    const rocksdb::Status status =
        db_->Get({}, rocksdb::Slice(key.data(), key.size()), &framed);
    if (status.IsNotFound())
      return absl::NotFoundError(
          absl::StrCat("no record '", key, "' in ", options_.directory));
    if (!status.ok()) return FromRocksDb(status);
    return UnframeValue(key, std::move(framed));
  }

  absl::StatusOr<std::vector<std::string>> List(
      absl::string_view prefix) const override {
    std::vector<std::string> keys;
    std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}));
    for (it->Seek({prefix.data(), prefix.size()}); it->Valid(); it->Next()) {
      const absl::string_view key(it->key().data(), it->key().size());
      if (!absl::StartsWith(key, prefix)) break;
      keys.emplace_back(key);
    }
    if (!it->status().ok()) return FromRocksDb(it->status());
    return keys;
  }

  absl::Status DeletePrefix(absl::string_view prefix) override {
    if (read_only_) return ReadOnlyError();
    absl::StatusOr<std::vector<std::string>> keys = List(prefix);
    if (!keys.ok()) return keys.status();
    rocksdb::WriteBatch batch;
    for (const std::string& key : *keys) batch.Delete(key);
    return FromRocksDb(db_->Write({}, &batch));
  }

  absl::Status Sync() override {
    if (read_only_) return absl::OkStatus();
    return FromRocksDb(db_->SyncWAL());
  }

 private:
  absl::Status ReadOnlyError() const {
    return absl::FailedPreconditionError(
        absl::StrCat("the store in ", options_.directory, " is read-only"));
  }

  absl::Status CheckRoom(uint64_t batch_bytes) const {
    struct statvfs fs;
    if (statvfs(options_.directory.c_str(), &fs) == 0) {
      const uint64_t free_bytes = uint64_t{fs.f_bavail} * fs.f_frsize;
      // A batch is written to the log and again to a table.
      if (free_bytes < options_.min_free_bytes + 2 * batch_bytes)
        return absl::ResourceExhaustedError(absl::StrCat(
            "disk of ", options_.directory, " has ", free_bytes >> 20,
            " MiB free: needs ",
            (options_.min_free_bytes + 2 * batch_bytes) >> 20, " MiB"));
    }
    if (options_.max_bytes == 0) return absl::OkStatus();
    uint64_t used = 0;
    db_->GetIntProperty("rocksdb.total-sst-files-size", &used);
    uint64_t memory = 0;
    db_->GetIntProperty("rocksdb.cur-size-all-mem-tables", &memory);
    if (used + memory + batch_bytes > options_.max_bytes)
      return absl::ResourceExhaustedError(absl::StrCat(
          "store in ", options_.directory, " is at its quota of ",
          options_.max_bytes >> 20, " MiB (max_state_bytes)"));
    return absl::OkStatus();
  }

  const RocksDbOptions options_;
  const std::unique_ptr<rocksdb::DB> db_;
  const bool read_only_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ParamStore>> OpenRocksDbStore(
    const RocksDbOptions& options) {
  std::error_code error;
  std::filesystem::create_directories(options.directory, error);
  if (error)
    return absl::InvalidArgumentError(absl::StrCat(
        "cannot make state directory ", options.directory, ": ",
        error.message()));
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status =
      rocksdb::DB::Open(MakeOptions(options, rocksdb::Env::Default()),
                        options.directory, &db);
  if (!status.ok()) {
    if (absl::StrContains(status.ToString(), "lock"))
      return absl::FailedPreconditionError(
          absl::StrCat("state directory ", options.directory,
                       " is in use by another ps-server"));
    return FromRocksDb(status);
  }
  return std::make_unique<RocksDbParamStore>(
      options, std::unique_ptr<rocksdb::DB>(db), /*read_only=*/false);
}

absl::StatusOr<std::unique_ptr<ParamStore>> OpenRocksDbStoreReadOnly(
    const std::string& directory) {
  if (!std::filesystem::exists(std::filesystem::path(directory) / "CURRENT"))
    return absl::NotFoundError(
        absl::StrCat("no checkpoint store in ", directory));
  RocksDbOptions options{.directory = directory};
  rocksdb::Options rocks = MakeOptions(options, rocksdb::Env::Default());
  rocks.create_if_missing = false;
  // The owner writes its log beside the data; ours would collide with it.
  rocks.info_log_level = rocksdb::InfoLogLevel::FATAL_LEVEL;
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status =
      rocksdb::DB::OpenForReadOnly(rocks, directory, &db);
  if (!status.ok()) return FromRocksDb(status);
  return std::make_unique<RocksDbParamStore>(
      options, std::unique_ptr<rocksdb::DB>(db), /*read_only=*/true);
}

}  // namespace cssp
