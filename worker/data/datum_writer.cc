#include "worker/data/datum_writer.h"

#include <leveldb/db.h>
#include <leveldb/write_batch.h>
#include <lmdb.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBatchRecords = 1000;
constexpr size_t kBatchBytes = size_t{64} << 20;
constexpr size_t kFirstMapBytes = size_t{16} << 20;

// Where records go inside a folder that is not yet the base.
class Backend {
 public:
  using Records = std::vector<std::pair<std::string, std::string>>;
  virtual ~Backend() = default;
  virtual absl::Status Open(const std::string& folder) = 0;
  // One transaction.
  virtual absl::Status Write(const Records& records) = 0;
  virtual absl::Status Close() = 0;
};

class LmdbBackend final : public Backend {
 public:
  ~LmdbBackend() override {
    if (env_ != nullptr) mdb_env_close(env_);
  }

  absl::Status Open(const std::string& folder) override {
    RETURN_IF_ERROR(Check(mdb_env_create(&env_)));
    RETURN_IF_ERROR(Check(mdb_env_set_mapsize(env_, map_bytes_)));
    // Synced once, by Close: until then it is no base.
    return Check(mdb_env_open(env_, folder.c_str(),
                              MDB_NOSYNC | MDB_NOMETASYNC, 0664));
  }

  absl::Status Write(const Records& records) override {
    while (true) {
      const int code = TryWrite(records);
      if (code != MDB_MAP_FULL) return Check(code);
      map_bytes_ *= 2;
      RETURN_IF_ERROR(Check(mdb_env_set_mapsize(env_, map_bytes_)));
    }
  }

  absl::Status Close() override {
    const absl::Status synced = Check(mdb_env_sync(env_, 1));
    mdb_env_close(env_);
    env_ = nullptr;
    return synced;
  }

 private:
  int TryWrite(const Records& records) {
    MDB_txn* txn = nullptr;
    MDB_dbi dbi = 0;
    int code = mdb_txn_begin(env_, nullptr, 0, &txn);
    if (code != MDB_SUCCESS) return code;
    code = mdb_dbi_open(txn, nullptr, 0, &dbi);
    for (const auto& [key, value] : records) {
      if (code != MDB_SUCCESS) break;
      MDB_val k{key.size(), const_cast<char*>(key.data())};
      MDB_val v{value.size(), const_cast<char*>(value.data())};
      code = mdb_put(txn, dbi, &k, &v, MDB_NOOVERWRITE);
    }
    if (code == MDB_SUCCESS) return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return code;
  }

  static absl::Status Check(int code) {
    if (code == MDB_SUCCESS) return absl::OkStatus();
    const std::string message = absl::StrCat("LMDB: ", mdb_strerror(code));
    if (code == MDB_KEYEXIST) return absl::AlreadyExistsError(message);
    if (code == ENOSPC) return absl::ResourceExhaustedError(message);
    return absl::InternalError(message);
  }

  MDB_env* env_ = nullptr;
  size_t map_bytes_ = kFirstMapBytes;
};

class LevelDbBackend final : public Backend {
 public:
  absl::Status Open(const std::string& folder) override {
    leveldb::Options options;  // Caffe's
    options.block_size = 65536;
    options.write_buffer_size = size_t{64} << 20;
    options.max_open_files = 100;
    options.create_if_missing = true;
    options.error_if_exists = true;
    leveldb::DB* db = nullptr;
    RETURN_IF_ERROR(Check(leveldb::DB::Open(options, folder, &db)));
    db_.reset(db);
    return absl::OkStatus();
  }

  absl::Status Write(const Records& records) override {
    leveldb::WriteBatch batch;
    for (const auto& [key, value] : records) batch.Put(key, value);
    return Check(db_->Write(leveldb::WriteOptions(), &batch));
  }

  absl::Status Close() override {
    leveldb::WriteOptions durable;
    durable.sync = true;
    leveldb::WriteBatch nothing;
    const absl::Status synced = Check(db_->Write(durable, &nothing));
    db_.reset();
    return synced;
  }

 private:
  static absl::Status Check(const leveldb::Status& status) {
    if (status.ok()) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("LevelDB: ", status.ToString()));
  }

  std::unique_ptr<leveldb::DB> db_;
};

class BaseWriter final : public DatumWriter {
 public:
  BaseWriter(std::string path, std::unique_ptr<Backend> backend)
      : path_(std::move(path)),
        folder_(absl::StrCat(path_, ".tmp-", getpid())),
        backend_(std::move(backend)) {}

  ~BaseWriter() override {
    backend_.reset();
    if (committed_ || !opened_) return;
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  absl::Status Open() {
    std::error_code error;
    if (fs::exists(fs::symlink_status(path_, error))) {
      return absl::AlreadyExistsError(absl::StrCat(
          path_, ": stands already; remove it or name another path"));
    }
    if (!fs::create_directory(folder_, error)) {
      return absl::NotFoundError(absl::StrCat(
          path_, ": cannot be made: ",
          error ? error.message() : folder_ + " stands in the way"));
    }
    opened_ = true;
    return Annotate(backend_->Open(folder_), path_);
  }

  absl::Status Put(absl::string_view key, absl::string_view value) override {
    bytes_ += key.size() + value.size();
    batch_.emplace_back(std::string(key), std::string(value));
    if (batch_.size() < kBatchRecords && bytes_ < kBatchBytes)
      return absl::OkStatus();
    return Flush();
  }

  absl::Status Commit() override {
    RETURN_IF_ERROR(Flush());
    RETURN_IF_ERROR(Annotate(backend_->Close(), path_));
    std::error_code error;
    fs::rename(folder_, path_, error);
    if (error) {
      return absl::InternalError(
          absl::StrCat(path_, ": cannot be put in place: ", error.message()));
    }
    committed_ = true;
    return absl::OkStatus();
  }

 private:
  absl::Status Flush() {
    if (batch_.empty()) return absl::OkStatus();
    RETURN_IF_ERROR(Annotate(backend_->Write(batch_), path_));
    batch_.clear();
    bytes_ = 0;
    return absl::OkStatus();
  }

  const std::string path_;
  const std::string folder_;
  std::unique_ptr<Backend> backend_;
  Backend::Records batch_;
  size_t bytes_ = 0;
  bool opened_ = false;
  bool committed_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<DatumWriter>> CreateBase(
    BaseFormat format, const std::string& path) {
  std::unique_ptr<Backend> backend;
  if (format == BaseFormat::kLmdb) {
    backend = std::make_unique<LmdbBackend>();
  } else {
    backend = std::make_unique<LevelDbBackend>();
  }
  auto writer = std::make_unique<BaseWriter>(path, std::move(backend));
  RETURN_IF_ERROR(writer->Open());
  return writer;
}

}  // namespace cssp
