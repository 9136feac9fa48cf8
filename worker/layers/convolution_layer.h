// Convolution in two dimensions, with groups and dilation.
#ifndef CSSP_WORKER_LAYERS_CONVOLUTION_LAYER_H_
#define CSSP_WORKER_LAYERS_CONVOLUTION_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// top(n,o,y,x) = bias(o) + sum over (c, i, j) of
//   weight(o,c,i,j) * bottom(n, g*C/G + c, y*stride - pad + i*dilation, ...)
// where g is the group of o.  Several bottoms share the weights, top i is of
// bottom i.  Parameters: weight (O, C/G, kh, kw), bias (O) if bias_term.
//
// Thread-confined: the training thread.
class ConvolutionLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  int max_bottoms() const override { return -1; }
  int max_tops() const override { return -1; }

 protected:
  // Index 0: height, 1: width.
  struct Geometry {
    int64_t num_output = 0;
    int64_t group = 1;
    bool bias = true;
    int64_t kernel[2] = {0, 0};
    int64_t stride[2] = {1, 1};
    int64_t pad[2] = {0, 0};
    int64_t dilation[2] = {1, 1};
  };
  const Geometry& geometry() const { return geometry_; }
  size_t scratch_bytes_ = 0;  // set by Bind

 private:
  absl::Status ReadGeometry();
  absl::Status CheckBottom(const Shape& bottom) const;

  Geometry geometry_;
  int64_t channels_ = 0;
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_CONVOLUTION_LAYER_H_
