#include "worker/layers/smooth_l1_loss_layer.h"

#include "absl/strings/str_cat.h"

namespace cssp {

absl::Status SmoothL1LossLayer::SetUp(absl::Span<const Shape> bottom) {
  if (layer_param().smooth_l1_loss_param().sigma() > 0) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("smooth_l1_loss_param.sigma must be > 0");
}

absl::StatusOr<std::vector<Shape>> SmoothL1LossLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  if (bottom[0].num_axes() < 1 || bottom[0].dim(0) < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("bottom 0 must have items, got ", bottom[0].ToString()));
  }
  for (const Shape& shape : bottom) {
    if (shape.count() != bottom[0].count()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "all bottoms must have the same number of elements, got ",
          bottom[0].ToString(), " and ", shape.ToString()));
    }
  }
  return std::vector<Shape>{Shape()};
}

LayerTraits SmoothL1LossLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_top = 0;
  return traits;
}

}  // namespace cssp
