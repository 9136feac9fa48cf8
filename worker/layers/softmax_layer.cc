#include "worker/layers/softmax_layer.h"

#include "common/base/status_macros.h"

namespace cssp {

absl::Status SoftmaxLayer::SetUp(absl::Span<const Shape> bottom) {
  return AxisOf(bottom[0]).status();
}

absl::StatusOr<LabelAxis> SoftmaxLayer::AxisOf(const Shape& bottom) const {
  return LabelAxis::Of(bottom, layer_param().softmax_param().axis());
}

absl::StatusOr<std::vector<Shape>> SoftmaxLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  RETURN_IF_ERROR(AxisOf(bottom[0]).status());
  return std::vector<Shape>{bottom[0]};
}

LayerTraits SoftmaxLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 0;
  traits.in_place = true;
  return traits;
}

}  // namespace cssp
