// What convolution_param says of the spatial axes: read here for Convolution,
// Deconvolution and Im2col.
#ifndef CSSP_WORKER_LAYERS_CONVOLUTION_GEOMETRY_H_
#define CSSP_WORKER_LAYERS_CONVOLUTION_GEOMETRY_H_

#include <cstdint>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "common/tensor/shape.h"
#include "proto/caffe.pb.h"

namespace cssp {

// The axes before `channel_axis` count items, the ones behind it are spatial:
// none (a product with a matrix), or up to 10.  Along spatial axis i, window p
// touches p * stride - pad + k * dilation for k in [0, kernel).
//
// Value type.
struct ConvolutionGeometry {
  static constexpr int kMaxSpatialAxes = 10;
  using Extents = absl::InlinedVector<int64_t, 3>;

  int channel_axis = 1;
  Extents kernel, stride, pad, dilation;  // one entry per spatial axis

  // For a bottom like this one.  InvalidArgument names the field at fault.
  static absl::StatusOr<ConvolutionGeometry> Read(
      const caffe::ConvolutionParameter& param, const Shape& bottom);

  int spatial_axes() const { return static_cast<int>(kernel.size()); }
  int64_t kernel_count() const;

  // The bottom's extents of the spatial axes.
  Extents Spatial(const Shape& bottom) const;
  // How many windows fit: (in + 2 pad - covers) / stride + 1, rounded down,
  // where covers = dilation * (kernel - 1) + 1.
  absl::StatusOr<Extents> Convolved(const Shape& bottom) const;
  // The inverse: stride * (in - 1) + covers - 2 pad.
  absl::StatusOr<Extents> Deconvolved(const Shape& bottom) const;
  // The bottom's shape with other channels and spatial extents.
  absl::StatusOr<Shape> TopShape(const Shape& bottom, int64_t channels,
                                 const Extents& spatial) const;
  // The bottom may change its items and spatial extents, nothing else.
  absl::Status CheckBottom(const Shape& bottom, int64_t channels) const;

 private:
  int64_t Covers(int i) const { return dilation[i] * (kernel[i] - 1) + 1; }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_CONVOLUTION_GEOMETRY_H_
