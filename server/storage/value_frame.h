// What stands in the store under a key: the value and a CRC-32C of key and
// value, so that neither a flipped bit nor a swapped record is read as data.
#ifndef CSSP_SERVER_STORAGE_VALUE_FRAME_H_
#define CSSP_SERVER_STORAGE_VALUE_FRAME_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cssp {

// value + 4 bytes, little-endian.
std::string FrameValue(absl::string_view key, absl::string_view value);
// DataLoss that names the key.
absl::StatusOr<std::string> UnframeValue(absl::string_view key,
                                         std::string framed);

}  // namespace cssp

#endif  // CSSP_SERVER_STORAGE_VALUE_FRAME_H_
