#include "server/storage/value_frame.h"

#include <cstdint>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/crc.h"

namespace cssp {
namespace {

constexpr size_t kCrcBytes = 4;

uint32_t FrameCrc(absl::string_view key, absl::string_view value) {
  return Crc32c(value.data(), value.size(), Crc32c(key.data(), key.size()));
}

}  // namespace

std::string FrameValue(absl::string_view key, absl::string_view value) {
  const uint32_t crc = FrameCrc(key, value);
  std::string framed;
  framed.reserve(value.size() + kCrcBytes);
  framed.append(value.data(), value.size());
  for (int byte = 0; byte < 4; ++byte)
    framed.push_back(static_cast<char>(crc >> (8 * byte)));
  return framed;
}

absl::StatusOr<std::string> UnframeValue(absl::string_view key,
                                         std::string framed) {
  if (framed.size() < kCrcBytes)
    return absl::DataLossError(absl::StrCat("record '", key, "' is truncated"));
  const size_t size = framed.size() - kCrcBytes;
  uint32_t crc = 0;
  for (int byte = 3; byte >= 0; --byte)
    crc = crc << 8 | static_cast<uint8_t>(framed[size + byte]);
  framed.resize(size);
  if (crc != FrameCrc(key, framed))
    return absl::DataLossError(
        absl::StrCat("record '", key, "' fails its checksum"));
  return framed;
}

}  // namespace cssp
