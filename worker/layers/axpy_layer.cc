#include "worker/layers/axpy_layer.h"

#include "absl/strings/str_cat.h"

namespace cssp {

absl::StatusOr<std::vector<Shape>> AxpyLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  const Shape& a = bottom[0];
  const Shape& x = bottom[1];
  if (x.num_axes() < 2 || x != bottom[2]) {
    return absl::InvalidArgumentError(absl::StrCat(
        "bottoms 1 and 2 must be of one shape with items and channels, got ",
        x.ToString(), " and ", bottom[2].ToString()));
  }
  if (a.num_axes() < 2 || a.dim(0) != x.dim(0) || a.dim(1) != x.dim(1) ||
      a.count_from(2) != 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "bottom 0 must have one factor for every channel of every item of "
        "bottom 1 (",
        x.ToString(), "), got ", a.ToString()));
  }
  return std::vector<Shape>{x};
}

LayerTraits AxpyLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 1 << 0 | 1 << 1;
  traits.backward_reads_top = 0;
  return traits;
}

}  // namespace cssp
