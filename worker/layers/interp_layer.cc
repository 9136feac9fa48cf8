#include "worker/layers/interp_layer.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

absl::Status CheckImages(const Shape& bottom) {
  if (bottom.num_axes() == 4) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the bottom must be N x C x H x W, got ", bottom.ToString()));
}

LayerTraits ReadsNothing() {
  LayerTraits traits;
  traits.backward_reads_bottom = 0;
  traits.backward_reads_top = 0;
  return traits;
}

}  // namespace

absl::StatusOr<InterpAxis> InterpLayer::AxisOf(const Shape& bottom,
                                               int axis) const {
  const caffe::InterpParameter& p = layer_param().interp_param();
  InterpAxis line;
  line.begin = -int64_t{p.pad_beg()};
  line.in = bottom.dim(axis) + p.pad_beg() + p.pad_end();
  const int64_t given = axis == 2 ? p.height() : p.width();
  const int64_t shrink = p.shrink_factor(), zoom = p.zoom_factor();
  if (p.pad_beg() > 0 || p.pad_end() > 0 || shrink < 1 || zoom < 1) {
    return absl::InvalidArgumentError(
        "interp_param: pad_beg and pad_end must be <= 0, shrink_factor and "
        "zoom_factor >= 1");
  }
  if (p.has_height() && p.has_width() &&
      p.has_shrink_factor() == p.has_zoom_factor()) {
    line.out = given;
  } else if (p.has_shrink_factor() || p.has_zoom_factor()) {
    line.out = line.in > 0 ? (line.in - 1) / shrink + 1 : 0;
    line.out += (line.out - 1) * (zoom - 1);
  } else {
    return absl::InvalidArgumentError(
        "interp_param must give height and width, zoom_factor or "
        "shrink_factor");
  }
  if (line.in < 1 || line.out < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("interp_param makes ", line.out, " of ", line.in,
                     " elements of axis ", axis, ": both must be > 0"));
  }
  return line;
}

absl::StatusOr<std::vector<Shape>> InterpLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  RETURN_IF_ERROR(CheckImages(bottom[0]));
  std::vector<int64_t> dims = {bottom[0].dim(0), bottom[0].dim(1)};
  for (int axis : {2, 3}) {
    ASSIGN_OR_RETURN(const InterpAxis line, AxisOf(bottom[0], axis));
    dims.push_back(line.out);
  }
  ASSIGN_OR_RETURN(Shape top, Shape::Create(dims));
  return std::vector<Shape>{top};
}

LayerTraits InterpLayer::Traits() const { return ReadsNothing(); }

absl::StatusOr<std::vector<Shape>> UpsampleLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  RETURN_IF_ERROR(CheckImages(bottom[0]));
  if (scale() < 1) {
    return absl::InvalidArgumentError("upsample_param.scale must be > 0");
  }
  const int64_t dims[] = {bottom[0].dim(0), bottom[0].dim(1),
                          bottom[0].dim(2) * scale(),
                          bottom[0].dim(3) * scale()};
  ASSIGN_OR_RETURN(Shape top, Shape::Create(dims));
  return std::vector<Shape>{top};
}

LayerTraits UpsampleLayer::Traits() const { return ReadsNothing(); }

}  // namespace cssp
