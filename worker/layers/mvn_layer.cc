#include "worker/layers/mvn_layer.h"

#include "absl/strings/str_cat.h"

namespace cssp {

absl::StatusOr<std::vector<Shape>> MvnLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  if (bottom[0].num_axes() < 1 || bottom[0].num_axes() > 4) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the bottom must have 1 to 4 axes, got ", bottom[0].ToString()));
  }
  return std::vector<Shape>{bottom[0]};
}

int64_t MvnLayer::GroupsOf(const Shape& bottom) const {
  const int64_t items = bottom.dim(0);
  return options().across_channels() ? items : items * bottom.LegacyDim(1);
}

LayerTraits MvnLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 0;
  traits.backward_reads_top = normalize_variance() ? 1 : 0;
  traits.in_place = true;
  return traits;
}

}  // namespace cssp
