#include "worker/layers/base_convolution_layer.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

constexpr int64_t kMaxOutputs = 1 << 28;

// The names under which forks know a convolution with a group per channel.
bool IsDepthwise(const std::string& type) {
  return type == "DepthwiseConvolution" || type == "ConvolutionDepthwise";
}

}  // namespace

absl::Status BaseConvolutionLayer::ReadChannels(const Shape& bottom) {
  const caffe::ConvolutionParameter& p = layer_param().convolution_param();
  channels_ = bottom.dim(geometry_.channel_axis);
  num_output_ = p.num_output();
  group_ = p.group();
  if (num_output_ < 1 || num_output_ > kMaxOutputs) {
    return absl::InvalidArgumentError(
        "convolution_param.num_output must be between 1 and 2^28");
  }
  if (IsDepthwise(type())) {
    if (p.has_group() && group_ != channels_) {
      return absl::InvalidArgumentError(
          absl::StrCat("convolution_param.group is ", group_, ", but ", type(),
                       " has one ", "group for each of the bottom's ",
                       channels_, " channels: leave it out"));
    }
    group_ = channels_;
  }
  if (group_ < 1 || num_output_ % group_ != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("convolution_param.num_output ", num_output_,
                     " must be a multiple of group ", group_));
  }
  if (channels_ < 1 || channels_ % group_ != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the bottom's ", channels_,
                     " channels must be a multiple of group ", group_));
  }
  return absl::OkStatus();
}

absl::StatusOr<Shape> BaseConvolutionLayer::WeightShape() const {
  const bool forth = direction_ == Direction::kConvolution;
  std::vector<int64_t> dims = {forth ? num_output_ : channels_,
                               (forth ? channels_ : num_output_) / group_};
  dims.insert(dims.end(), geometry_.kernel.begin(), geometry_.kernel.end());
  return Shape::Create(dims);
}

absl::Status BaseConvolutionLayer::SetUp(absl::Span<const Shape> bottom) {
  const caffe::ConvolutionParameter& p = layer_param().convolution_param();
  ASSIGN_OR_RETURN(geometry_, ConvolutionGeometry::Read(p, bottom[0]));
  RETURN_IF_ERROR(ReadChannels(bottom[0]));
  ASSIGN_OR_RETURN(Shape weight, WeightShape());
  DeclareParam({.shape = weight, .filler = p.weight_filler()});
  if (bias()) {
    DeclareParam({.shape = Shape({num_output_}), .filler = p.bias_filler()});
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Shape>> BaseConvolutionLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  RETURN_IF_ERROR(geometry_.CheckBottom(bottom[0], channels_));
  for (const Shape& shape : bottom) {
    if (shape != bottom[0]) {
      return absl::InvalidArgumentError(
          absl::StrCat("the bottoms must be of one shape, got ",
                       bottom[0].ToString(), " and ", shape.ToString()));
    }
  }
  ASSIGN_OR_RETURN(const ConvolutionGeometry::Extents spatial,
                   direction_ == Direction::kConvolution
                       ? geometry_.Convolved(bottom[0])
                       : geometry_.Deconvolved(bottom[0]));
  ASSIGN_OR_RETURN(Shape top,
                   geometry_.TopShape(bottom[0], num_output_, spatial));
  return std::vector<Shape>(bottom.size(), top);
}

LayerTraits BaseConvolutionLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_top = 0;
  traits.scratch_bytes = scratch_bytes_;
  return traits;
}

}  // namespace cssp
