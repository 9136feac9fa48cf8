// Reading whole files, bounded before memory is taken.
#ifndef CSSP_COMMON_MODEL_FILE_FILE_BYTES_H_
#define CSSP_COMMON_MODEL_FILE_FILE_BYTES_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cssp {

// "<what> 'path': <reason of errnum>": NotFound, PermissionDenied,
// ResourceExhausted (disk full), else InvalidArgument.
absl::Status FileError(int errnum, absl::string_view what,
                       const std::string& path);

// Of the file behind `fd`, in bytes.  InvalidArgument: no regular file.
absl::StatusOr<int64_t> RegularSize(int fd, const std::string& path);

// InvalidArgument when it is no regular file or has more than `limit` bytes,
// DataLoss when it shrinks while it is read.
absl::StatusOr<std::string> ReadFileBytes(const std::string& path,
                                          int64_t limit);

// Does the file begin with HDF5's signature?  False when it cannot be read.
bool IsHdf5File(const std::string& path);

}  // namespace cssp

#endif  // CSSP_COMMON_MODEL_FILE_FILE_BYTES_H_
