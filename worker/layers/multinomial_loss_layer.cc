#include "worker/layers/multinomial_loss_layer.h"

#include "common/base/status_macros.h"

namespace cssp {

absl::StatusOr<std::vector<Shape>> MultinomialLossLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  if (bottom[0].num_axes() < 1 || bottom[0].dim(0) < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "there must be items with probabilities, got ", bottom[0].ToString()));
  }
  RETURN_IF_ERROR(AxisOf(bottom[0]).CheckLabels(bottom[0], bottom[1]));
  return std::vector<Shape>{Shape()};
}

LayerTraits MultinomialLossLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_top = 0;
  return traits;
}

}  // namespace cssp
