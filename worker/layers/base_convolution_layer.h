// What Convolution and Deconvolution have in common: one set of parameters,
// read in two directions.
#ifndef CSSP_WORKER_LAYERS_BASE_CONVOLUTION_LAYER_H_
#define CSSP_WORKER_LAYERS_BASE_CONVOLUTION_LAYER_H_

#include <vector>

#include "worker/layers/convolution_geometry.h"
#include "worker/net/layer.h"

namespace cssp {

// Several bottoms, of one shape, share the weights; top i is of bottom i.
// Parameters: weight (channels(), num_output / group, kernel...) for a
// deconvolution, (num_output, channels() / group, kernel...) for a convolution;
// bias (num_output) if bias_term.  Each device picks its own kernels; `engine:
// CAFFE` keeps the processor to the sum as it is defined, other engines and
// `force_nd_im2col` are accepted and change nothing.
//
// Thread-confined: the training thread.
class BaseConvolutionLayer : public Layer {
 public:
  enum class Direction { kConvolution, kDeconvolution };

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  int max_bottoms() const override { return -1; }
  int max_tops() const override { return -1; }

 protected:
  BaseConvolutionLayer(caffe::LayerParameter param, caffe::Phase phase,
                       Direction direction)
      : Layer(std::move(param), phase), direction_(direction) {}

  // All valid after SetUp.
  const ConvolutionGeometry& geometry() const { return geometry_; }
  int64_t channels() const { return channels_; }  // of the bottom
  int64_t num_output() const { return num_output_; }
  int64_t group() const { return group_; }
  bool bias() const { return layer_param().convolution_param().bias_term(); }
  size_t scratch_bytes_ = 0;  // set by Bind

 private:
  absl::Status ReadChannels(const Shape& bottom);
  absl::StatusOr<Shape> WeightShape() const;

  const Direction direction_;
  ConvolutionGeometry geometry_;
  int64_t channels_ = 0;
  int64_t num_output_ = 0;
  int64_t group_ = 1;
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_BASE_CONVOLUTION_LAYER_H_
