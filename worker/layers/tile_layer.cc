#include "worker/layers/tile_layer.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {

absl::StatusOr<int64_t> TileLayer::RowOf(const Shape& bottom) const {
  ASSIGN_OR_RETURN(const int axis,
                   bottom.CanonicalAxis(layer_param().tile_param().axis()));
  return bottom.count_from(axis);
}

absl::StatusOr<std::vector<Shape>> TileLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  if (tiles() < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("tile_param.tiles must be > 0, got ", tiles()));
  }
  ASSIGN_OR_RETURN(const int axis,
                   bottom[0].CanonicalAxis(layer_param().tile_param().axis()));
  std::vector<int64_t> dims(bottom[0].dims().begin(), bottom[0].dims().end());
  dims[axis] *= tiles();
  ASSIGN_OR_RETURN(Shape top, Shape::Create(dims));
  return std::vector<Shape>{top};
}

LayerTraits TileLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 0;
  traits.backward_reads_top = 0;
  return traits;
}

}  // namespace cssp
