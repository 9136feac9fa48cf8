// Arrays of rows in HDF5 files: what HDF5Data reads and HDF5Output writes.
#ifndef CSSP_COMMON_MODEL_FILE_HDF5_ROWS_H_
#define CSSP_COMMON_MODEL_FILE_HDF5_ROWS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace cssp {

// The extents of the named datasets, the rows' number first.  Errors name the
// path.  NotFound, DataLoss: no such file, no HDF5 file.  InvalidArgument: no
// such dataset, one that holds no numbers, has no axis or more than 32, or more
// than 2^31 - 1 values.
absl::StatusOr<std::vector<std::vector<int64_t>>> ReadHdf5Extents(
    const std::string& path, absl::Span<const std::string> names);

// Their values, converted to floats.  The same errors.
absl::StatusOr<std::vector<std::vector<float>>> ReadHdf5Values(
    const std::string& path, absl::Span<const std::string> names);

// Writes arrays that grow along their first axis.
//
// Thread-confined: its owner.  After each Append the file can be read.
class Hdf5RowWriter {
 public:
  // Replaces what stands at `path`.  InvalidArgument: it cannot be written.
  static absl::StatusOr<std::unique_ptr<Hdf5RowWriter>> Create(
      const std::string& path);
  virtual ~Hdf5RowWriter() = default;

  // Adds extents[0] rows to the dataset, which is made by the first call.
  // InvalidArgument: rows of another shape.
  // REQUIRES: values.size() is the product of the extents, none of which is 0.
  virtual absl::Status Append(const std::string& name,
                              absl::Span<const int64_t> extents,
                              absl::Span<const float> values) = 0;
};

}  // namespace cssp

#endif  // CSSP_COMMON_MODEL_FILE_HDF5_ROWS_H_
