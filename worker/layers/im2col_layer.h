// Im2col: the windows of a convolution laid out as columns.
#ifndef CSSP_WORKER_LAYERS_IM2COL_LAYER_H_
#define CSSP_WORKER_LAYERS_IM2COL_LAYER_H_

#include <vector>

#include "worker/layers/convolution_geometry.h"
#include "worker/net/layer.h"

namespace cssp {

// With K = the elements of the kernel, k one of them, p a window:
//   top(n, c*K + k, p) = bottom(n, c, p * stride - pad + k * dilation)
// and 0 outside the bottom: shape (items..., C*K, windows...).  Reads the
// spatial fields and `axis` of convolution_param.  Caffe's layout.
//
// Thread-confined: the training thread.
class Im2colLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;

 protected:
  const ConvolutionGeometry& geometry() const { return geometry_; }

 private:
  ConvolutionGeometry geometry_;
  int64_t channels_ = 0;
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_IM2COL_LAYER_H_
