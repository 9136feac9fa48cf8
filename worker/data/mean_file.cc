#include "worker/data/mean_file.h"

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "proto/caffe.pb.h"

namespace cssp {
namespace {

namespace fs = std::filesystem;

// Extents of a mean blob, in the new form (shape) or the old one.
absl::Status ReadExtents(const caffe::BlobProto& blob, MeanImage* mean) {
  int64_t dims[4] = {blob.num(), blob.channels(), blob.height(), blob.width()};
  if (blob.has_shape()) {
    const auto& shape = blob.shape().dim();
    if (shape.size() > 4 || shape.empty())
      return absl::DataLossError("has a shape that is no image's");
    const int missing = 4 - shape.size();
    for (int i = 0; i < 4; ++i) dims[i] = i < missing ? 1 : shape[i - missing];
  }
  int64_t count = 1;
  for (const int64_t dim : dims) {
    if (dim < 1 || dim > std::numeric_limits<int32_t>::max() / count)
      return absl::DataLossError("has a shape that is no image's");
    count *= dim;
  }
  const int64_t held =
      blob.data_size() > 0 ? blob.data_size() : blob.double_data_size();
  if (dims[0] != 1 || held != count) {
    return absl::DataLossError(
        absl::StrCat("holds ", held, " values but says ", dims[0], " x ",
                     dims[1], " x ", dims[2], " x ", dims[3]));
  }
  mean->channels = static_cast<int>(dims[1]);
  mean->height = static_cast<int>(dims[2]);
  mean->width = static_cast<int>(dims[3]);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<MeanImage> ReadMeanFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::error_code error;
  if (!file || fs::is_directory(path, error)) {
    return absl::NotFoundError(absl::StrCat(
        path, ": no such mean file; make it with compute_image_mean BASE ",
        path));
  }
  caffe::BlobProto blob;
  if (!blob.ParseFromIstream(&file)) {
    return absl::DataLossError(
        absl::StrCat(path, ": is no mean file (truncated or of another kind)"));
  }
  MeanImage mean;
  RETURN_IF_ERROR(Annotate(ReadExtents(blob, &mean), path));
  if (blob.data_size() > 0) {
    mean.values.assign(blob.data().begin(), blob.data().end());
  } else {
    mean.values.assign(blob.double_data().begin(), blob.double_data().end());
  }
  return mean;
}

absl::Status WriteMeanFile(const std::string& path, const MeanImage& mean) {
  caffe::BlobProto blob;  // the old form, which every Caffe reads
  blob.set_num(1);
  blob.set_channels(mean.channels);
  blob.set_height(mean.height);
  blob.set_width(mean.width);
  blob.mutable_data()->Add(mean.values.begin(), mean.values.end());
  const std::string beside = absl::StrCat(path, ".tmp-", getpid());
  std::error_code error;
  {
    std::ofstream file(beside, std::ios::binary);
    if (!file || !blob.SerializeToOstream(&file) || !file.flush()) {
      fs::remove(beside, error);
      return absl::NotFoundError(absl::StrCat(path, ": cannot be written"));
    }
  }
  fs::rename(beside, path, error);
  if (!error) return absl::OkStatus();
  const std::string reason = error.message();
  fs::remove(beside, error);
  return absl::InternalError(
      absl::StrCat(path, ": cannot be written: ", reason));
}

}  // namespace cssp
