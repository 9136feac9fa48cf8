#include "common/model_file/blob_proto.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model_file/binary_proto.h"

namespace cssp {
namespace {

constexpr int64_t kMaxMeanBytes = int64_t{1} << 30;

absl::Status CountMismatch(int64_t stored, size_t wanted) {
  return absl::InvalidArgumentError(absl::StrCat(
      "the blob holds ", stored, " values where ", wanted, " belong"));
}

}  // namespace

bool HasLegacyShape(const caffe::BlobProto& blob) {
  return blob.has_num() || blob.has_channels() || blob.has_height() ||
         blob.has_width();
}

absl::StatusOr<Shape> BlobShapeOf(const caffe::BlobProto& blob) {
  if (HasLegacyShape(blob))
    return Shape::Create(
        {blob.num(), blob.channels(), blob.height(), blob.width()});
  return Shape::Create(blob.shape().dim());
}

bool BlobShapeEquals(const caffe::BlobProto& blob, const Shape& shape) {
  if (!HasLegacyShape(blob)) {
    const absl::StatusOr<Shape> stored = BlobShapeOf(blob);
    return stored.ok() && *stored == shape;
  }
  if (shape.num_axes() > 4) return false;
  const int64_t stored[4] = {blob.num(), blob.channels(), blob.height(),
                             blob.width()};
  const int leading = 4 - shape.num_axes();
  for (int i = 0; i < 4; ++i) {
    const int64_t wanted = i < leading ? 1 : shape.dim(i - leading);
    if (stored[i] != wanted) return false;
  }
  return true;
}

int64_t BlobDataCount(const caffe::BlobProto& blob) {
  return blob.double_data_size() > 0 ? blob.double_data_size()
                                     : blob.data_size();
}

absl::Status ReadBlobData(const caffe::BlobProto& blob, absl::Span<float> out) {
  if (BlobDataCount(blob) != out.size())
    return CountMismatch(BlobDataCount(blob), out.size());
  if (blob.double_data_size() > 0)
    std::copy(blob.double_data().begin(), blob.double_data().end(),
              out.begin());
  else
    std::copy(blob.data().begin(), blob.data().end(), out.begin());
  return absl::OkStatus();
}

absl::Status ReadBlobDiff(const caffe::BlobProto& blob, absl::Span<float> out) {
  const bool wide = blob.double_diff_size() > 0;
  const int stored = wide ? blob.double_diff_size() : blob.diff_size();
  if (stored == 0) return absl::NotFoundError("the blob holds no diff");
  if (stored != out.size()) return CountMismatch(stored, out.size());
  if (wide)
    std::copy(blob.double_diff().begin(), blob.double_diff().end(),
              out.begin());
  else
    std::copy(blob.diff().begin(), blob.diff().end(), out.begin());
  return absl::OkStatus();
}

void WriteBlob(const Shape& shape, absl::Span<const float> data,
               absl::Span<const float> diff, caffe::BlobProto* blob) {
  blob->Clear();
  // An axis-less blob still has a shape: an empty one.
  caffe::BlobShape* stored = blob->mutable_shape();
  for (int64_t extent : shape.dims()) stored->add_dim(extent);
  blob->mutable_data()->Add(data.begin(), data.end());
  if (!diff.empty()) blob->mutable_diff()->Add(diff.begin(), diff.end());
}

absl::StatusOr<caffe::BlobProto> ReadMean(const std::string& path) {
  caffe::BlobProto mean;
  RETURN_IF_ERROR(
      ReadBinaryProto(path, kMaxMeanBytes, "mean file (BlobProto)", &mean));
  const absl::StatusOr<Shape> shape = BlobShapeOf(mean);
  if (!shape.ok()) return Annotate(shape.status(), path);
  if (BlobDataCount(mean) == 0 || BlobDataCount(mean) != shape->count())
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": a mean of shape ", shape->ToString(), " with ",
                     BlobDataCount(mean), " values: is it a mean file?"));
  return mean;
}

absl::Status WriteMean(const caffe::BlobProto& mean, const std::string& path) {
  return WriteBinaryProto(mean, "", path);
}

}  // namespace cssp
