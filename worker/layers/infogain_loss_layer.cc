#include "worker/layers/infogain_loss_layer.h"

#include "common/base/status_macros.h"
#include "common/model_file/blob_proto.h"

namespace cssp {

absl::Status InfogainLossLayer::SetUp(absl::Span<const Shape> bottom) {
  const caffe::LossParameter& p = layer_param().loss_param();
  if (p.has_ignore_label()) ignore_label_ = p.ignore_label();
  normalization_ = LossNormalization(p, caffe::LossParameter::VALID);
  return bottom.size() > 2 ? absl::OkStatus() : ReadMatrix();
}

absl::Status InfogainLossLayer::ReadMatrix() {
  const std::string& source = layer_param().infogain_loss_param().source();
  if (source.empty()) {
    return absl::InvalidArgumentError(
        "the matrix is missing: give infogain_loss_param.source (a "
        ".binaryproto file), or a third bottom");
  }
  ASSIGN_OR_RETURN(const caffe::BlobProto blob, ReadMean(source));
  matrix_.resize(BlobDataCount(blob));
  return ReadBlobData(blob, absl::MakeSpan(matrix_));
}

absl::StatusOr<std::vector<Shape>> InfogainLossLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  ASSIGN_OR_RETURN(const LabelAxis axis, AxisOf(bottom[0]));
  RETURN_IF_ERROR(axis.CheckLabels(bottom[0], bottom[1]));
  const int64_t given = bottom.size() > 2
                            ? bottom[2].count()
                            : static_cast<int64_t>(matrix_.size());
  if (given != axis.classes * axis.classes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the infogain matrix has ", given, " elements, ", axis.classes,
        " classes need ", axis.classes, " x ", axis.classes));
  }
  std::vector<Shape> tops{Shape()};
  if (layer_param().top_size() > 1) tops.push_back(bottom[0]);
  return tops;
}

LayerTraits InfogainLossLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 1 << 1 | 1 << 2;
  traits.backward_reads_top = 0;
  return traits;
}

}  // namespace cssp
