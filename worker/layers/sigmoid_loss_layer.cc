#include "worker/layers/sigmoid_loss_layer.h"

#include "absl/strings/str_cat.h"

namespace cssp {

absl::Status SigmoidCrossEntropyLossLayer::SetUp(
    absl::Span<const Shape> bottom) {
  const caffe::LossParameter& p = layer_param().loss_param();
  if (p.has_ignore_label()) ignore_label_ = p.ignore_label();
  normalization_ = LossNormalization(p, caffe::LossParameter::BATCH_SIZE);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Shape>> SigmoidCrossEntropyLossLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  if (bottom[0].num_axes() < 1 || bottom[0].count() != bottom[1].count()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "scores and targets must have the same number of elements, got ",
        bottom[0].ToString(), " and ", bottom[1].ToString()));
  }
  return std::vector<Shape>{Shape()};
}

LayerTraits SigmoidCrossEntropyLossLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_top = 0;
  return traits;
}

}  // namespace cssp
