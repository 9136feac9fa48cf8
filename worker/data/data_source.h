// Records by index, and batches dealt by clock.
#ifndef CSSP_WORKER_DATA_DATA_SOURCE_H_
#define CSSP_WORKER_DATA_DATA_SOURCE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/tensor/shape.h"
#include "worker/data/image_codec.h"

namespace cssp {

// One record as it lies in the base: pixels as bytes or floats, and a label.
// `channels x height x width`, planes as Datum has them.
// Invariant: exactly one of `bytes` and `floats` is filled, with as many
// elements as the extents say.
struct RecordView {
  int channels = 0, height = 0, width = 0;
  absl::string_view bytes;                // empty when the record holds floats
  absl::Span<const float> floats;
  int label = 0;
};

// A set of records of known size, read at random by index; read-only, so that
// many workers share one LMDB.
//
// Thread-safe: Read may be called from several threads at once.
class DataSource {
 public:
  virtual ~DataSource() = default;
  virtual int64_t size() const = 0;
  // Keeps the record's memory alive in `*storage` until that is overwritten.
  // DataLoss when the record does not parse or its image is damaged (base and
  // key named).
  // REQUIRES: 0 <= index < size().
  virtual absl::StatusOr<RecordView> Read(int64_t index,
                                          std::string* storage) const = 0;
};

enum class BaseFormat { kLmdb, kLevelDb };

// "lmdb" or "leveldb"; anything else is InvalidArgument.
absl::StatusOr<BaseFormat> ParseBaseFormat(absl::string_view name);

// Opens an LMDB or LevelDB base of Datum records, keys in order.  Missing base:
// NotFound that names the path and what makes one; a LevelDB that another
// process holds: FailedPrecondition that says to use LMDB or one process; a
// base of the other kind: InvalidArgument that names the right backend.
// The base must not be written to while it is open.
// Encoded images are decoded in `mode`.
absl::StatusOr<std::unique_ptr<DataSource>> OpenLmdb(
    const std::string& path, ColorMode mode = ColorMode::kAsStored);
absl::StatusOr<std::unique_ptr<DataSource>> OpenLevelDb(
    const std::string& path, ColorMode mode = ColorMode::kAsStored);
absl::StatusOr<std::unique_ptr<DataSource>> OpenBase(
    BaseFormat format, const std::string& path,
    ColorMode mode = ColorMode::kAsStored);

}  // namespace cssp

#endif  // CSSP_WORKER_DATA_DATA_SOURCE_H_
