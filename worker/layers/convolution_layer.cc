#include "worker/layers/convolution_layer.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

constexpr int64_t kMaxExtent = 1 << 28;

// `values`: none (the default), one for both axes, or one per axis; or the _h
// and _w fields, which exclude it.
template <class Repeated>
absl::Status ReadPair(const char* field, const Repeated& values, bool has_h,
                      int64_t h, bool has_w, int64_t w, int64_t fallback,
                      int64_t out[2]) {
  if (has_h || has_w) {
    if (values.size() > 0 || has_h != has_w) {
      return absl::InvalidArgumentError(
          absl::StrCat("convolution_param: give either ", field, " or both of ",
                       field, "_h and ", field, "_w"));
    }
    out[0] = h;
    out[1] = w;
  } else if (values.size() > 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("convolution_param.", field, " is given ", values.size(),
                     " times; give it once, or once per spatial axis (2)"));
  } else {
    out[0] = values.size() > 0 ? values.Get(0) : fallback;
    out[1] = values.size() > 1 ? values.Get(1) : out[0];
  }
  if (out[0] > kMaxExtent || out[1] > kMaxExtent) {
    return absl::InvalidArgumentError(
        absl::StrCat("convolution_param.", field, " is too large"));
  }
  return absl::OkStatus();
}

absl::Status Positive(const char* field, const int64_t values[2]) {
  if (values[0] > 0 && values[1] > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("convolution_param.", field, " must be > 0"));
}

}  // namespace

absl::Status ConvolutionLayer::ReadGeometry() {
  const caffe::ConvolutionParameter& p = layer_param().convolution_param();
  Geometry& g = geometry_;
  RETURN_IF_ERROR(ReadPair("kernel_size", p.kernel_size(), p.has_kernel_h(),
                           p.kernel_h(), p.has_kernel_w(), p.kernel_w(), 0,
                           g.kernel));
  RETURN_IF_ERROR(ReadPair("stride", p.stride(), p.has_stride_h(),
                           p.stride_h(), p.has_stride_w(), p.stride_w(), 1,
                           g.stride));
  RETURN_IF_ERROR(ReadPair("pad", p.pad(), p.has_pad_h(), p.pad_h(),
                           p.has_pad_w(), p.pad_w(), 0, g.pad));
  RETURN_IF_ERROR(ReadPair("dilation", p.dilation(), false, 0, false, 0, 1,
                           g.dilation));
  RETURN_IF_ERROR(Positive("kernel_size", g.kernel));
  RETURN_IF_ERROR(Positive("stride", g.stride));
  RETURN_IF_ERROR(Positive("dilation", g.dilation));
  g.num_output = p.num_output();
  g.group = p.group();
  g.bias = p.bias_term();
  if (g.num_output < 1 || g.num_output > kMaxExtent) {
    return absl::InvalidArgumentError(
        "convolution_param.num_output must be between 1 and 2^28");
  }
  if (g.group < 1 || g.num_output % g.group != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("convolution_param.num_output ", g.num_output,
                     " must be a multiple of group ", g.group));
  }
  return absl::OkStatus();
}

absl::Status ConvolutionLayer::CheckBottom(const Shape& bottom) const {
  if (bottom.num_axes() != 4) {
    return absl::UnimplementedError(
        absl::StrCat("convolution takes a bottom of 4 axes (items, channels, "
                     "height, width), got ",
                     bottom.ToString()));
  }
  ASSIGN_OR_RETURN(
      const int axis,
      bottom.CanonicalAxis(layer_param().convolution_param().axis()));
  if (axis != 1) {
    return absl::UnimplementedError(
        absl::StrCat("convolution_param.axis must be 1, got ", axis));
  }
  return absl::OkStatus();
}

absl::Status ConvolutionLayer::SetUp(absl::Span<const Shape> bottom) {
  RETURN_IF_ERROR(ReadGeometry());
  RETURN_IF_ERROR(CheckBottom(bottom[0]));
  channels_ = bottom[0].dim(1);
  const Geometry& g = geometry_;
  if (channels_ < 1 || channels_ % g.group != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the bottom's ", channels_,
                     " channels must be a multiple of group ", g.group));
  }
  const int64_t dims[] = {g.num_output, channels_ / g.group, g.kernel[0],
                          g.kernel[1]};
  ASSIGN_OR_RETURN(Shape weight, Shape::Create(dims));
  const caffe::ConvolutionParameter& p = layer_param().convolution_param();
  DeclareParam({.shape = weight, .filler = p.weight_filler()});
  if (g.bias) {
    DeclareParam({.shape = Shape({g.num_output}), .filler = p.bias_filler()});
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Shape>> ConvolutionLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  const Geometry& g = geometry_;
  RETURN_IF_ERROR(CheckBottom(bottom[0]));
  if (bottom[0].dim(1) != channels_) {
    return absl::InvalidArgumentError(
        absl::StrCat("the bottom has ", bottom[0].dim(1),
                     " channels, the weights were made for ", channels_));
  }
  for (const Shape& shape : bottom) {
    if (shape != bottom[0]) {
      return absl::InvalidArgumentError(
          absl::StrCat("bottoms of one convolution must be of one shape, got ",
                       bottom[0].ToString(), " and ", shape.ToString()));
    }
  }
  int64_t out[2];
  for (int i = 0; i < 2; ++i) {
    const int64_t extent = g.dilation[i] * (g.kernel[i] - 1) + 1;
    const int64_t room = bottom[0].dim(2 + i) + 2 * g.pad[i] - extent;
    if (room < 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the kernel covers ", extent, i == 0 ? " rows" : " columns",
          " but the padded bottom has only ",
          bottom[0].dim(2 + i) + 2 * g.pad[i], " (", bottom[0].ToString(),
          ")"));
    }
    out[i] = room / g.stride[i] + 1;
  }
  const int64_t dims[] = {bottom[0].dim(0), g.num_output, out[0], out[1]};
  ASSIGN_OR_RETURN(Shape top, Shape::Create(dims));
  return std::vector<Shape>(bottom.size(), top);
}

LayerTraits ConvolutionLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_top = 0;
  traits.scratch_bytes = scratch_bytes_;
  return traits;
}

}  // namespace cssp
