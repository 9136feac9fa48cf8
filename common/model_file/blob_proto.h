// BlobProto, Caffe's stored array, to and from shapes and floats.
#ifndef CSSP_COMMON_MODEL_FILE_BLOB_PROTO_H_
#define CSSP_COMMON_MODEL_FILE_BLOB_PROTO_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/tensor/shape.h"
#include "proto/caffe.pb.h"

namespace cssp {

// Before shape existed a blob had num, channels, height and width.
bool HasLegacyShape(const caffe::BlobProto& blob);

// The stored shape: 4-D where it is a legacy one.  InvalidArgument when it is
// negative or overflows.
absl::StatusOr<Shape> BlobShapeOf(const caffe::BlobProto& blob);

// Caffe's ShapeEquals: a legacy shape equals one of fewer axes that has
// leading 1s put before it.
bool BlobShapeEquals(const caffe::BlobProto& blob, const Shape& shape);

// Stored values, whichever of data and double_data holds them.
int64_t BlobDataCount(const caffe::BlobProto& blob);

// Copies the values (doubles are rounded).  InvalidArgument unless exactly
// out.size() are stored; `out` is untouched then.
absl::Status ReadBlobData(const caffe::BlobProto& blob, absl::Span<float> out);

// As ReadBlobData, for diff.  NotFound where the blob has no diff.
absl::Status ReadBlobDiff(const caffe::BlobProto& blob, absl::Span<float> out);

// Shape and data; diff where it is not empty.
void WriteBlob(const Shape& shape, absl::Span<const float> data,
               absl::Span<const float> diff, caffe::BlobProto* blob);

// A mean file (.binaryproto): one BlobProto with values that fill its shape.
// At most 1 GiB; DataLoss when it is truncated.
absl::StatusOr<caffe::BlobProto> ReadMean(const std::string& path);
absl::Status WriteMean(const caffe::BlobProto& mean, const std::string& path);

}  // namespace cssp

#endif  // CSSP_COMMON_MODEL_FILE_BLOB_PROTO_H_
