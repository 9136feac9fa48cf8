#include "worker/layers/filter_layer.h"

#include "absl/strings/str_cat.h"

namespace cssp {

absl::Status FilterLayer::SetUp(absl::Span<const Shape> bottom) {
  const size_t tops = layer_param().top_size();
  if (tops + 1 == bottom.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "there must be a top for every bottom but the selector, the last one; "
      "got ",
      bottom.size(), " bottoms and ", tops, " tops"));
}

absl::StatusOr<std::vector<Shape>> FilterLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  const Shape& selector = bottom.back();
  if (selector.num_axes() < 1 || selector.count_from(1) != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("the selector must have one number for every item, got ",
                     selector.ToString()));
  }
  for (const Shape& shape : bottom) {
    if (shape.num_axes() < 1 || shape.dim(0) != selector.dim(0)) {
      return absl::InvalidArgumentError(
          absl::StrCat("every bottom must have as many items as the selector, ",
                       selector.dim(0), "; got ", shape.ToString()));
    }
  }
  return std::vector<Shape>(bottom.begin(), bottom.end() - 1);
}

LayerTraits FilterLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 0;
  traits.backward_reads_top = 0;
  traits.data_dependent_shape = true;
  traits.capturable = false;
  return traits;
}

absl::Status FilterLayer::Bind(absl::Span<const TensorDesc> bottom,
                               absl::Span<const TensorDesc> top) {
  shapes_.clear();
  for (const TensorDesc& desc : top) shapes_.push_back(desc.shape);
  return absl::OkStatus();
}

void FilterLayer::SetKept(int64_t items) {
  for (Shape& shape : shapes_) shape.set_dim(0, items);
}

}  // namespace cssp
