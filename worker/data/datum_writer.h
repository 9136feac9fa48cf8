// Makes a base of records: LMDB or LevelDB, whole or not at all.
#ifndef CSSP_WORKER_DATA_DATUM_WRITER_H_
#define CSSP_WORKER_DATA_DATUM_WRITER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/data/data_source.h"

namespace cssp {

// Thread-confined: the tool that makes the base.
//
// Invariant: nothing stands at the final path before Commit has succeeded; a
// writer that goes without Commit leaves nothing.
class DatumWriter {
 public:
  virtual ~DatumWriter() = default;
  // Writes in transactions of 1000 records, as Caffe's tools do.  A key that
  // was written before: AlreadyExists (LMDB) or overwritten (LevelDB).
  virtual absl::Status Put(absl::string_view key, absl::string_view value) = 0;
  // Flushes, closes and moves the base to its path.  Once.
  virtual absl::Status Commit() = 0;
};

// AlreadyExists when anything stands at `path`; NotFound when its folder does
// not exist.
absl::StatusOr<std::unique_ptr<DatumWriter>> CreateBase(
    BaseFormat format, const std::string& path);

}  // namespace cssp

#endif  // CSSP_WORKER_DATA_DATUM_WRITER_H_
