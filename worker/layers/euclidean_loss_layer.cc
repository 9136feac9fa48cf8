#include "worker/layers/euclidean_loss_layer.h"

#include "absl/strings/str_cat.h"

namespace cssp {

absl::StatusOr<std::vector<Shape>> EuclideanLossLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  if (bottom[0].num_axes() < 1 || bottom[1].num_axes() < 1 ||
      bottom[0].dim(0) < 1 || bottom[0].dim(0) != bottom[1].dim(0) ||
      bottom[0].count() != bottom[1].count()) {
    return absl::InvalidArgumentError(
        absl::StrCat("both bottoms must have the same number of items and of "
                     "elements, got ",
                     bottom[0].ToString(), " and ", bottom[1].ToString()));
  }
  return std::vector<Shape>{Shape()};
}

LayerTraits EuclideanLossLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_top = 0;
  return traits;
}

}  // namespace cssp
