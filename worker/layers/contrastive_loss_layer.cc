#include "worker/layers/contrastive_loss_layer.h"

#include "absl/strings/str_cat.h"

namespace cssp {

absl::StatusOr<std::vector<Shape>> ContrastiveLossLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  const Shape& a = bottom[0];
  const Shape& b = bottom[1];
  if (a.num_axes() < 1 || a.dim(0) < 1 || b.num_axes() < 1 ||
      b.dim(0) != a.dim(0) || b.count() != a.count()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "bottoms 0 and 1 must have the same number of items and of elements, "
        "got ",
        a.ToString(), " and ", b.ToString()));
  }
  if (bottom[2].count() != a.dim(0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("bottom 2 must say for each of the ", a.dim(0),
                     " pairs whether it is alike, got ", bottom[2].ToString()));
  }
  return std::vector<Shape>{Shape()};
}

LayerTraits ContrastiveLossLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_top = 0;
  return traits;
}

}  // namespace cssp
