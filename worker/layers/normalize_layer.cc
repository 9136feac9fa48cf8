#include "worker/layers/normalize_layer.h"

#include "absl/strings/str_cat.h"

namespace cssp {

absl::Status NormalizeLayer::SetUp(absl::Span<const Shape> bottom) {
  if (bottom[0].num_axes() < 2) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the bottom must have items and channels, got ", bottom[0].ToString()));
  }
  caffe::FillerParameter filler = options().scale_filler();
  if (!options().has_scale_filler()) filler.set_value(1);  // constant
  DeclareParam({.shape = channel_shared() ? Shape() : Shape({bottom[0].dim(1)}),
                .filler = filler});
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Shape>> NormalizeLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  const Shape& scale = param_declarations()[0].shape;
  if (bottom[0].num_axes() < 2 ||
      (!channel_shared() && bottom[0].dim(1) != scale.dim(0))) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the bottom (", bottom[0].ToString(), ") does not have the ",
        scale.count(), " channels that the scale was made for"));
  }
  return std::vector<Shape>{bottom[0]};
}

LayerTraits NormalizeLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_top = 0;
  return traits;
}

}  // namespace cssp
