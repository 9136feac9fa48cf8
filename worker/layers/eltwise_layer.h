// Combines bottoms element by element.
#ifndef CSSP_WORKER_LAYERS_ELTWISE_LAYER_H_
#define CSSP_WORKER_LAYERS_ELTWISE_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// PROD: the product; its gradient multiplies the other bottoms
//       (stable_prod_grad) or divides the top by the bottom.
// SUM:  the sum, weighted by `coeff` where given.
// MAX:  the greatest; the gradient goes to the bottom that gave it.  Of equals
//       that is bottom 1 rather than 0, and 0 or 1 rather than a later one, as
//       in Caffe.  `coeff` is ignored.
//
// Thread-confined: the training thread.
class EltwiseLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  FormatChoice ChooseFormats(absl::Span<const TensorDesc> bottom,
                             absl::Span<const Shape> top) const override;
  int min_bottoms() const override { return 2; }
  int max_bottoms() const override { return -1; }

 protected:
  caffe::EltwiseParameter::EltwiseOp operation() const {
    return layer_param().eltwise_param().operation();
  }
  bool stable_product() const {
    return layer_param().eltwise_param().stable_prod_grad();
  }
  const std::vector<float>& coefficients() const { return coefficients_; }

 private:
  std::vector<float> coefficients_;  // one per bottom
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_ELTWISE_LAYER_H_
