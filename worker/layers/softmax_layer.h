// Softmax along an axis.
#ifndef CSSP_WORKER_LAYERS_SOFTMAX_LAYER_H_
#define CSSP_WORKER_LAYERS_SOFTMAX_LAYER_H_

#include <vector>

#include "worker/layers/label_axis.h"
#include "worker/net/layer.h"

namespace cssp {

// top(o,c,i) = e^(x(o,c,i) - m) / sum over c of the same, m the maximum.
//
// Thread-confined: the training thread.
class SoftmaxLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;

 protected:
  absl::StatusOr<LabelAxis> AxisOf(const Shape& bottom) const;
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_SOFTMAX_LAYER_H_
