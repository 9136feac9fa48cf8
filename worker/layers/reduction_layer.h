// Reduces the tail axes of a blob to one value.
#ifndef CSSP_WORKER_LAYERS_REDUCTION_LAYER_H_
#define CSSP_WORKER_LAYERS_REDUCTION_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// top(o) = coeff * f over the elements of bottom from `axis` on:
// SUM x, ASUM |x|, SUMSQ x^2, MEAN x / count.
//
// Thread-confined: the training thread.
class ReductionLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override {
    return InferShapes(bottom).status();
  }
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;

 protected:
  const caffe::ReductionParameter& options() const {
    return layer_param().reduction_param();
  }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_REDUCTION_LAYER_H_
