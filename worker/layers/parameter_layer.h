// A learnt blob as a top.
#ifndef CSSP_WORKER_LAYERS_PARAMETER_LAYER_H_
#define CSSP_WORKER_LAYERS_PARAMETER_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// top = the parameter, of parameter_param.shape (none: a scalar), 0 at first;
// the top's gradient is the parameter's.
//
// Thread-confined: the training thread.
class ParameterLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override {
    return std::vector<Shape>{param_declarations()[0].shape};
  }
  LayerTraits Traits() const override;
  int min_bottoms() const override { return 0; }
  int max_bottoms() const override { return 0; }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_PARAMETER_LAYER_H_
