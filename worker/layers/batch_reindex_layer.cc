#include "worker/layers/batch_reindex_layer.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {

absl::StatusOr<std::vector<Shape>> BatchReindexLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  if (bottom[0].num_axes() < 1 || bottom[1].num_axes() != 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "bottom 0 must have items and bottom 1, the indices, one axis; got ",
        bottom[0].ToString(), " and ", bottom[1].ToString()));
  }
  std::vector<int64_t> dims(bottom[0].dims().begin(), bottom[0].dims().end());
  dims[0] = bottom[1].dim(0);
  ASSIGN_OR_RETURN(Shape top, Shape::Create(dims));
  return std::vector<Shape>{top};
}

LayerTraits BatchReindexLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 1 << 1;
  traits.backward_reads_top = 0;
  return traits;
}

absl::Status BatchReindexLayer::BadIndex(float index, int64_t position,
                                         int64_t items) {
  return absl::InvalidArgumentError(
      absl::StrCat("index ", index, " at position ", position,
                   " names none of the ", items, " items of bottom 0"));
}

}  // namespace cssp
