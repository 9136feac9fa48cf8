#include "worker/layers/im2col_layer.h"

#include "common/base/status_macros.h"

namespace cssp {

absl::Status Im2colLayer::SetUp(absl::Span<const Shape> bottom) {
  ASSIGN_OR_RETURN(
      geometry_,
      ConvolutionGeometry::Read(layer_param().convolution_param(), bottom[0]));
  channels_ = bottom[0].dim(geometry_.channel_axis);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Shape>> Im2colLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  RETURN_IF_ERROR(geometry_.CheckBottom(bottom[0], channels_));
  ASSIGN_OR_RETURN(const ConvolutionGeometry::Extents windows,
                   geometry_.Convolved(bottom[0]));
  int64_t rows;
  if (__builtin_mul_overflow(channels_, geometry_.kernel_count(), &rows)) {
    return absl::InvalidArgumentError(
        "convolution_param.kernel_size is too large");
  }
  ASSIGN_OR_RETURN(Shape top, geometry_.TopShape(bottom[0], rows, windows));
  return std::vector<Shape>{top};
}

LayerTraits Im2colLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 0;
  traits.backward_reads_top = 0;
  return traits;
}

}  // namespace cssp
