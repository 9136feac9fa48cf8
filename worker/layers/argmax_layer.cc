#include "worker/layers/argmax_layer.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {

absl::StatusOr<std::vector<Shape>> ArgMaxLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  const int64_t top_k = options().top_k();
  if (bottom[0].num_axes() < 1) {
    return absl::InvalidArgumentError("the bottom must have axes");
  }
  Shape top;
  int64_t among;
  if (options().has_axis()) {
    ASSIGN_OR_RETURN(const int axis,
                     bottom[0].CanonicalAxis(options().axis()));
    among = bottom[0].dim(axis);
    top = bottom[0];
    top.set_dim(axis, top_k);
  } else {
    among = bottom[0].count_from(1);
    top = Shape({bottom[0].dim(0), options().out_max_val() ? 2 : 1, top_k});
    for (int a = 3; a < bottom[0].num_axes(); ++a) top.Append(1);
  }
  if (top_k < 1 || top_k > among) {
    return absl::InvalidArgumentError(
        absl::StrCat("argmax_param.top_k must be between 1 and ", among,
                     ", got ", top_k));
  }
  return std::vector<Shape>{top};
}

LayerTraits ArgMaxLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 0;
  traits.backward_reads_top = 0;
  traits.has_backward = false;
  return traits;
}

}  // namespace cssp
