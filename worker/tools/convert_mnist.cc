#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "proto/caffe.pb.h"
#include "worker/data/datum_writer.h"
#include "worker/tools/converters.h"

namespace cssp {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kImageMagic = 2051;
constexpr uint32_t kLabelMagic = 2049;
constexpr uint32_t kMaxSide = 16384;

// An idx file: a magic number, `extents` big-endian counts, bytes.
class IdxFile {
 public:
  absl::Status Open(const std::string& path, uint32_t magic, int extents) {
    path_ = path;
    std::error_code error;
    bytes_ = fs::file_size(path, error);
    file_.open(path, std::ios::binary);
    if (error || !file_) {
      return absl::NotFoundError(absl::StrCat(
          path, ": ", error ? error.message() : "cannot be read",
          "; examples/mnist/get_mnist.sh fetches MNIST's files"));
    }
    uint32_t found = 0;
    if (!ReadCount(&found) || found != magic) {
      return absl::DataLossError(absl::StrCat(
          path, ": begins with ", found, ", not with ", magic,
          ": not this kind of idx file (still compressed?)"));
    }
    extents_.resize(extents);
    for (uint32_t& extent : extents_) {
      if (!ReadCount(&extent))
        return absl::DataLossError(absl::StrCat(path, ": truncated header"));
    }
    return absl::OkStatus();
  }

  // The file must hold exactly `records` records of `record_bytes`.
  absl::Status CheckLength(uint64_t record_bytes) const {
    const uint64_t header = 4 * (1 + extents_.size());
    const uint64_t expected = header + record_bytes * extents_[0];
    if (bytes_ == expected) return absl::OkStatus();
    return absl::DataLossError(
        absl::StrCat(path_, ": ", bytes_, " bytes, its header says ", expected,
                     ": truncated? fetch it again"));
  }

  bool Read(char* to, size_t size) {
    return static_cast<bool>(file_.read(to, size));
  }
  uint32_t extent(int i) const { return extents_[i]; }

 private:
  bool ReadCount(uint32_t* value) {
    unsigned char raw[4];
    if (!file_.read(reinterpret_cast<char*>(raw), sizeof raw)) return false;
    *value = uint32_t{raw[0]} << 24 | uint32_t{raw[1]} << 16 |
             uint32_t{raw[2]} << 8 | raw[3];
    return true;
  }

  std::string path_;
  std::ifstream file_;
  uint64_t bytes_ = 0;
  std::vector<uint32_t> extents_;
};

absl::Status OpenPair(const std::string& image_path,
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
  return absl::DataLossError(absl::StrCat(
      image_path, " holds ", images->extent(0), " images, ", label_path, " ",
      labels->extent(0), " labels: not a pair"));
}

}  // namespace

absl::Status ConvertMnist(const std::string& image_path,
                          const std::string& label_path,
                          const std::string& output, BaseFormat format) {
  IdxFile images, labels;
  RETURN_IF_ERROR(OpenPair(image_path, label_path, &images, &labels));
  ASSIGN_OR_RETURN(const std::unique_ptr<DatumWriter> base,
                   CreateBase(format, output));
  const uint32_t rows = images.extent(1), columns = images.extent(2);
  LOG(INFO) << "A total of " << images.extent(0) << " items.";
  LOG(INFO) << "Rows: " << rows << " Cols: " << columns;
  std::vector<char> pixels(size_t{rows} * columns);
  caffe::Datum datum;
  datum.set_channels(1);
  datum.set_height(static_cast<int>(rows));
  datum.set_width(static_cast<int>(columns));
  for (uint32_t i = 0; i < images.extent(0); ++i) {
    char label = 0;
    if (!images.Read(pixels.data(), pixels.size()) || !labels.Read(&label, 1))
      return absl::DataLossError(
          absl::StrCat(image_path, ": cannot read record ", i));
    datum.set_data(pixels.data(), pixels.size());
    datum.set_label(static_cast<unsigned char>(label));
    RETURN_IF_ERROR(
        base->Put(absl::StrFormat("%08d", i), datum.SerializeAsString()));
  }
  RETURN_IF_ERROR(base->Commit());
  LOG(INFO) << "Processed " << images.extent(0) << " files.";
  return absl::OkStatus();
}

}  // namespace cssp
