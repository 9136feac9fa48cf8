#include "worker/layers/softmax_loss_layer.h"

#include "common/base/status_macros.h"

namespace cssp {

absl::Status SoftmaxWithLossLayer::SetUp(absl::Span<const Shape> bottom) {
  const caffe::LossParameter& p = layer_param().loss_param();
  if (p.has_ignore_label()) ignore_label_ = p.ignore_label();
  normalization_ = LossNormalization(p, caffe::LossParameter::VALID);
  const float smoothing = p.label_smoothing();
  if (!(smoothing >= 0 && smoothing < 1)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "loss_param.label_smoothing must be in [0, 1), got ", smoothing));
  }
  return AxisOf(bottom[0]).status();
}

SoftmaxWithLossLayer::Target SoftmaxWithLossLayer::TargetOf(
    const LabelAxis& axis) const {
  const float smoothing = layer_param().loss_param().label_smoothing();
  if (smoothing == 0) return Target();
  return Target{.own = 1 - smoothing,
                .every = smoothing / static_cast<float>(axis.classes)};
}

absl::StatusOr<LabelAxis> SoftmaxWithLossLayer::AxisOf(
    const Shape& scores) const {
  return LabelAxis::Of(scores, layer_param().softmax_param().axis());
}

absl::StatusOr<std::vector<Shape>> SoftmaxWithLossLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  ASSIGN_OR_RETURN(const LabelAxis axis, AxisOf(bottom[0]));
  RETURN_IF_ERROR(axis.CheckLabels(bottom[0], bottom[1]));
  std::vector<Shape> tops{Shape()};
  if (layer_param().top_size() > 1) tops.push_back(bottom[0]);
  return tops;
}

LayerTraits SoftmaxWithLossLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 1 << 1;
  traits.backward_reads_top = 0;
  return traits;
}

}  // namespace cssp
