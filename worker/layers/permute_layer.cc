#include "worker/layers/permute_layer.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace cssp {

absl::Status PermuteLayer::SetUp(absl::Span<const Shape> bottom) {
  const int axes = bottom[0].num_axes();
  order_.clear();
  for (const uint32_t axis : layer_param().permute_param().order()) {
    if (axis >= static_cast<uint32_t>(axes)) {
      return absl::InvalidArgumentError(
          absl::StrCat("permute_param.order names axis ", axis,
                       ", the bottom has ", axes, " axes"));
    }
    if (std::count(order_.begin(), order_.end(), static_cast<int>(axis)) > 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("permute_param.order names axis ", axis, " twice"));
    }
    order_.push_back(static_cast<int>(axis));
  }
  for (int a = 0; a < axes; ++a) {
    if (std::count(order_.begin(), order_.end(), a) == 0) order_.push_back(a);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Shape>> PermuteLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  if (bottom[0].num_axes() != static_cast<int>(order_.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("the bottom had ", order_.size(), " axes, now it is ",
                     bottom[0].ToString()));
  }
  Shape top;
  for (int axis : order_) top.Append(bottom[0].dim(axis));
  return std::vector<Shape>{top};
}

LayerTraits PermuteLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 0;
  traits.backward_reads_top = 0;
  traits.is_view = std::is_sorted(order_.begin(), order_.end());
  return traits;
}

absl::StatusOr<std::vector<Shape>> ShuffleChannelLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  if (bottom[0].num_axes() < 2 || group() < 1 ||
      bottom[0].dim(1) % group() != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("shuffle_channel_param.group (", group(),
                     ") must divide the channels of the bottom (",
                     bottom[0].ToString(), ")"));
  }
  return std::vector<Shape>{bottom[0]};
}

LayerTraits ShuffleChannelLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 0;
  traits.backward_reads_top = 0;
  return traits;
}

StridedMap ShuffleChannelLayer::MapOf(const Shape& bottom) const {
  const Shape grouped = {bottom.dim(0), group(), bottom.dim(1) / group(),
                         bottom.count_from(2)};
  return StridedMap::Permute(grouped, {0, 2, 1, 3});
}

}  // namespace cssp
