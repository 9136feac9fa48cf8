#include "worker/layers/crop_layer.h"

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace cssp {

std::vector<int64_t> CropLayer::Offsets(int num_axes, int first) const {
  const caffe::CropParameter& p = layer_param().crop_param();
  std::vector<int64_t> offsets(num_axes, 0);
  for (int a = first; a < num_axes && p.offset_size() > 0; ++a) {
    offsets[a] = p.offset(p.offset_size() == 1 ? 0 : a - first);
  }
  return offsets;
}

absl::StatusOr<std::vector<Shape>> CropLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  const caffe::CropParameter& p = layer_param().crop_param();
  ASSIGN_OR_RETURN(const int first, bottom[0].CanonicalAxis(p.axis()));
  const int axes = bottom[0].num_axes();
  if (bottom[1].num_axes() != axes) {
    return absl::InvalidArgumentError(
        absl::StrCat("both bottoms must have the same number of axes, got ",
                     bottom[0].ToString(), " and ", bottom[1].ToString()));
  }
  if (p.offset_size() > 1 && p.offset_size() != axes - first) {
    return absl::InvalidArgumentError(
        absl::StrCat("crop_param.offset is given ", p.offset_size(),
                     " times; give it once, or once for each of the ",
                     axes - first, " axes from ", first, " on"));
  }
  const std::vector<int64_t> offsets = Offsets(axes, first);
  Shape top = bottom[0];
  for (int a = first; a < axes; ++a) {
    top.set_dim(a, bottom[1].dim(a));
    if (offsets[a] + top.dim(a) > bottom[0].dim(a)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "axis ", a, ": ", top.dim(a), " elements from offset ", offsets[a],
          " on reach beyond the ", bottom[0].dim(a), " of bottom 0"));
    }
  }
  return std::vector<Shape>{top};
}

StridedMap CropLayer::MapOf(const Shape& bottom, const Shape& top) const {
  const auto first = bottom.CanonicalAxis(layer_param().crop_param().axis());
  CHECK(first.ok()) << "InferShapes accepted the axis";
  return StridedMap::Crop(bottom, Offsets(bottom.num_axes(), *first), top);
}

LayerTraits CropLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 0;
  traits.backward_reads_top = 0;
  return traits;
}

}  // namespace cssp
