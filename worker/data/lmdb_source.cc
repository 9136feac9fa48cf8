// LMDB bases.  The file is mapped and never written, so any number of
// processes, and threads here, read it at once without a lock.
#include <lmdb.h>
#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/data/base_check.h"
#include "worker/data/data_source.h"
#include "worker/data/datum_codec.h"

namespace cssp {
namespace {

absl::Status FromLmdb(int code, const std::string& path) {
  if (code == MDB_SUCCESS) return absl::OkStatus();
  const std::string message =
      absl::StrCat(path, ": LMDB: ", mdb_strerror(code));
  switch (code) {
    case MDB_INVALID:
    case MDB_CORRUPTED:
    case MDB_VERSION_MISMATCH:
    case MDB_PAGE_NOTFOUND:
      return absl::DataLossError(message);
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(message);
    default:
      return absl::InternalError(message);
  }
}

// Immutable once opened.  Invariant: the read transaction stays open as long as
// the source, so that values may be read through pointers into the map.
class LmdbSource final : public DataSource {
 public:
  LmdbSource(std::string path, ColorMode mode)
      : path_(std::move(path)), mode_(mode) {}
  ~LmdbSource() override {
    if (txn_ != nullptr) mdb_txn_abort(txn_);
    if (env_ != nullptr) mdb_env_close(env_);
  }

  absl::Status Open() {
    RETURN_IF_ERROR(FromLmdb(mdb_env_create(&env_), path_));
    // NOLOCK: nobody writes; works on read-only and network file systems.
    RETURN_IF_ERROR(FromLmdb(
        mdb_env_open(env_, path_.c_str(),
                     MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS, 0),
        path_));
    RETURN_IF_ERROR(CheckWhole());
    RETURN_IF_ERROR(
        FromLmdb(mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn_), path_));
    MDB_dbi dbi = 0;
    RETURN_IF_ERROR(FromLmdb(mdb_dbi_open(txn_, nullptr, 0, &dbi), path_));
    return BuildIndex(dbi);
  }

  int64_t size() const override {
    return static_cast<int64_t>(records_.size());
  }

  absl::StatusOr<RecordView> Read(int64_t index,
                                  std::string* storage) const override {
    const MDB_val& value = records_[index];
    absl::StatusOr<RecordView> record = ParseDatum(
        absl::string_view(static_cast<const char*>(value.mv_data),
                          value.mv_size),
        storage, mode_);
    if (record.ok()) return record;
    return Annotate(record.status(),
                    absl::StrCat(path_, ": record ", index, " (key '",
                                 KeyOf(index), "')"));
  }

 private:
  // A map beyond the end of the file would be a SIGBUS later.
  absl::Status CheckWhole() const {
    MDB_envinfo info;
    MDB_stat stat;
    RETURN_IF_ERROR(FromLmdb(mdb_env_info(env_, &info), path_));
    RETURN_IF_ERROR(FromLmdb(mdb_env_stat(env_, &stat), path_));
    mdb_filehandle_t fd = 0;
    RETURN_IF_ERROR(FromLmdb(mdb_env_get_fd(env_, &fd), path_));
    struct stat file;
    if (fstat(fd, &file) != 0) return FromLmdb(errno, path_);
    const uint64_t needed = (uint64_t{info.me_last_pgno} + 1) * stat.ms_psize;
    if (static_cast<uint64_t>(file.st_size) >= needed) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat(
        path_, "/data.mdb: truncated: ", file.st_size, " of ", needed,
        " bytes; make the base again"));
  }

  // Where every value lies, in key order: 16 bytes a record.  Large values lie
  // on pages of their own, which this does not touch.
  absl::Status BuildIndex(MDB_dbi dbi) {
    MDB_stat stat;
    RETURN_IF_ERROR(FromLmdb(mdb_stat(txn_, dbi, &stat), path_));
    if (stat.ms_entries == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(path_, ": the base holds no records"));
    }
    records_.reserve(stat.ms_entries);
    MDB_cursor* cursor = nullptr;
    RETURN_IF_ERROR(FromLmdb(mdb_cursor_open(txn_, dbi, &cursor), path_));
    MDB_val key, value;
    int code = MDB_SUCCESS;
    while ((code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) ==
           MDB_SUCCESS) {
      records_.push_back(value);
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? absl::OkStatus() : FromLmdb(code, path_);
  }

  // For messages only: walks there.
  std::string KeyOf(int64_t index) const {
    MDB_dbi dbi = 0;
    MDB_txn* txn = nullptr;
    MDB_cursor* cursor = nullptr;
    std::string found = "?";
    if (mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn) != MDB_SUCCESS)
      return found;
    MDB_val key, value;
    if (mdb_dbi_open(txn, nullptr, 0, &dbi) == MDB_SUCCESS &&
        mdb_cursor_open(txn, dbi, &cursor) == MDB_SUCCESS) {
      int64_t at = 0;
      while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == MDB_SUCCESS) {
        if (at++ < index) continue;
        found = absl::CHexEscape(absl::string_view(
            static_cast<const char*>(key.mv_data), key.mv_size));
        break;
      }
      mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return found;
  }

  const std::string path_;
  const ColorMode mode_;
  MDB_env* env_ = nullptr;
  MDB_txn* txn_ = nullptr;
  std::vector<MDB_val> records_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<DataSource>> OpenLmdb(const std::string& path,
                                                     ColorMode mode) {
  RETURN_IF_ERROR(CheckBaseExists(BaseFormat::kLmdb, path));
  auto source = std::make_unique<LmdbSource>(path, mode);
  RETURN_IF_ERROR(source->Open());
  return source;
}

}  // namespace cssp
