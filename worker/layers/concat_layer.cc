#include "worker/layers/concat_layer.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/layers/formats.h"

namespace cssp {
namespace {

// The axis of a parameter that has a deprecated name too.
absl::StatusOr<int> ReadAxis(const char* field, bool has_axis, int axis,
                             const char* legacy, bool has_legacy,
                             uint32_t legacy_axis, const Shape& bottom) {
  if (has_axis && has_legacy) {
    return absl::InvalidArgumentError(
        absl::StrCat("give either ", field, " or ", legacy, ", not both"));
  }
  if (has_legacy && legacy_axis > 31) {
    return absl::InvalidArgumentError(absl::StrCat(legacy, " is too large"));
  }
  return bottom.CanonicalAxis(has_legacy ? static_cast<int>(legacy_axis)
                                         : axis);
}

}  // namespace

PartLayout PartLayout::Of(int axis, absl::Span<const TensorDesc> parts) {
  PartLayout layout;
  const TensorDesc& first = parts[0];
  const int64_t lanes = BlockLanes(first.format);
  if (lanes == 1 || axis <= 1) {
    layout.outer = first.shape.count(0, axis);
    for (const TensorDesc& part : parts) {
      layout.run.push_back(part.stored_count() /
                           std::max<int64_t>(layout.outer, 1));
    }
    return layout;
  }
  // N, C/b, H, W, b: the blocks count as rows.
  const int64_t blocks = (first.shape.dim(1) + lanes - 1) / lanes;
  layout.outer = first.shape.dim(0) * blocks;
  if (axis == 3) layout.outer *= first.shape.dim(2);
  for (const TensorDesc& part : parts) {
    layout.run.push_back(part.shape.count_from(axis) * lanes);
  }
  return layout;
}

int64_t PartLayout::row() const {
  return std::accumulate(run.begin(), run.end(), int64_t{0});
}

Format PartFormat(Format format, int axis, absl::Span<const Shape> parts) {
  for (const Shape& part : parts) {
    if (part.num_axes() != 4) return Format::kCaffe;
    if (axis == 1 && part.dim(1) % BlockLanes(format) != 0) {
      return Format::kCaffe;
    }
  }
  return format;
}

absl::Status ConcatLayer::SetUp(absl::Span<const Shape> bottom) {
  const caffe::ConcatParameter& p = layer_param().concat_param();
  ASSIGN_OR_RETURN(axis_, ReadAxis("concat_param.axis", p.has_axis(), p.axis(),
                                   "concat_dim", p.has_concat_dim(),
                                   p.concat_dim(), bottom[0]));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Shape>> ConcatLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  Shape top = bottom[0];
  int64_t extent = 0;
  for (const Shape& shape : bottom) {
    bool fits = shape.num_axes() == top.num_axes();
    for (int a = 0; fits && a < top.num_axes(); ++a) {
      fits = a == axis_ || shape.dim(a) == top.dim(a);
    }
    if (!fits) {
      return absl::InvalidArgumentError(absl::StrCat(
          "bottoms may differ along axis ", axis_, " only, got ",
          bottom[0].ToString(), " and ", shape.ToString()));
    }
    extent += shape.dim(axis_);
  }
  std::vector<int64_t> dims(top.dims().begin(), top.dims().end());
  dims[axis_] = extent;
  ASSIGN_OR_RETURN(top, Shape::Create(dims));
  return std::vector<Shape>{top};
}

LayerTraits ConcatLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 0;
  traits.backward_reads_top = 0;
  return traits;
}

FormatChoice ConcatLayer::ChooseFormats(absl::Span<const TensorDesc> bottom,
                                        absl::Span<const Shape> top) const {
  std::vector<Shape> parts;
  for (const TensorDesc& desc : bottom) parts.push_back(desc.shape);
  return Everywhere(PartFormat(FirstBlocked(bottom), axis_, parts),
                    bottom.size(), 1);
}

absl::Status SliceLayer::SetUp(absl::Span<const Shape> bottom) {
  const caffe::SliceParameter& p = layer_param().slice_param();
  ASSIGN_OR_RETURN(axis_, ReadAxis("slice_param.axis", p.has_axis(), p.axis(),
                                   "slice_dim", p.has_slice_dim(),
                                   p.slice_dim(), bottom[0]));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Shape>> SliceLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  const caffe::SliceParameter& p = layer_param().slice_param();
  const int64_t extent = bottom[0].dim(axis_);
  const int tops = std::max(layer_param().top_size(), 1);
  std::vector<int64_t> ends(p.slice_point().begin(), p.slice_point().end());
  if (ends.empty()) {
    if (extent % tops != 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "axis ", axis_, " has ", extent, " elements, which ", tops,
          " tops cannot share equally; give slice_param.slice_point"));
    }
    for (int i = 1; i < tops; ++i) ends.push_back(extent / tops * i);
  }
  if (static_cast<int>(ends.size()) != tops - 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(tops, " tops need ", tops - 1,
                     " slice_param.slice_point, got ", ends.size()));
  }
  ends.push_back(extent);
  std::vector<Shape> shapes(tops, bottom[0]);
  int64_t begin = 0;
  for (int i = 0; i < tops; ++i) {
    if (ends[i] <= begin) {
      return absl::InvalidArgumentError(absl::StrCat(
          "slice_param.slice_point must rise and stay within the ", extent,
          " elements of axis ", axis_));
    }
    shapes[i].set_dim(axis_, ends[i] - begin);
    begin = ends[i];
  }
  return shapes;
}

LayerTraits SliceLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 0;
  traits.backward_reads_top = 0;
  return traits;
}

FormatChoice SliceLayer::ChooseFormats(absl::Span<const TensorDesc> bottom,
                                       absl::Span<const Shape> top) const {
  return Everywhere(PartFormat(bottom[0].format, axis_, top), 1, top.size());
}

}  // namespace cssp
