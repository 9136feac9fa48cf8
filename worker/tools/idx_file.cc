#include "worker/tools/idx_file.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kImageMagic = 2051;
constexpr uint32_t kLabelMagic = 2049;
constexpr uint32_t kMaxSide = 16384;

uint64_t HeaderBytes(size_t extents) { return 4 * (1 + extents); }

}  // namespace

absl::Status IdxFile::Open(const std::string& path, uint32_t magic,
                           int extents) {
  path_ = path;
  std::error_code error;
  bytes_ = fs::file_size(path, error);
  file_.open(path, std::ios::binary);
  if (error || !file_) {
    return absl::NotFoundError(
        absl::StrCat(path, ": ", error ? error.message() : "cannot be read",
                     "; examples/mnist/get_mnist.sh fetches MNIST's files"));
  }
  uint32_t found = 0;
  if (!ReadCount(&found) || found != magic) {
    return absl::DataLossError(
        absl::StrCat(path, ": begins with ", found, ", not with ", magic,
                     ": not this kind of idx file (still compressed?)"));
  }
  extents_.resize(extents);
  for (uint32_t& extent : extents_) {
    if (!ReadCount(&extent))
      return absl::DataLossError(absl::StrCat(path, ": truncated header"));
  }
  return absl::OkStatus();
}

absl::Status IdxFile::CheckLength(uint64_t record_bytes) const {
  const uint64_t expected =
      HeaderBytes(extents_.size()) + record_bytes * extents_[0];
  if (bytes_ == expected) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(path_, ": ", bytes_,
                                          " bytes, its header says ", expected,
                                          ": truncated? fetch it again"));
}

bool IdxFile::ReadRecord(int64_t record, char* to, size_t size) {
  file_.seekg(static_cast<std::streamoff>(HeaderBytes(extents_.size()) +
                                          record * size));
  return Read(to, size);
}

bool IdxFile::ReadCount(uint32_t* value) {
  unsigned char raw[4];
  if (!file_.read(reinterpret_cast<char*>(raw), sizeof raw)) return false;
  *value = uint32_t{raw[0]} << 24 | uint32_t{raw[1]} << 16 |
           uint32_t{raw[2]} << 8 | raw[3];
  return true;
}

absl::Status OpenIdxPair(const std::string& image_path,
                         const std::string& label_path, IdxFile* images,
                         IdxFile* labels) {
  RETURN_IF_ERROR(images->Open(image_path, kImageMagic, 3));
  RETURN_IF_ERROR(labels->Open(label_path, kLabelMagic, 1));
  const uint32_t rows = images->extent(1), columns = images->extent(2);
  if (rows == 0 || columns == 0 || rows > kMaxSide || columns > kMaxSide) {
    return absl::DataLossError(absl::StrCat(image_path, ": images of ", rows,
                                            " x ", columns, " pixels"));
  }
  RETURN_IF_ERROR(images->CheckLength(uint64_t{rows} * columns));
  RETURN_IF_ERROR(labels->CheckLength(1));
  if (images->extent(0) == 0)
    return absl::DataLossError(absl::StrCat(image_path, ": holds no images"));
  if (images->extent(0) == labels->extent(0)) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat(image_path, " holds ", images->extent(0), " images, ",
                   label_path, " ", labels->extent(0), " labels: not a pair"));
}

}  // namespace cssp
