// ReLU with a learnt slope.
#ifndef CSSP_WORKER_LAYERS_PRELU_LAYER_H_
#define CSSP_WORKER_LAYERS_PRELU_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// top = x > 0 ? x : slope(c) * x, c the channel (axis 1).
// Parameter: slope (C), or a scalar if channel_shared; 0.25 unless filled.
//
// Thread-confined: the training thread.
class PReluLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  FormatChoice ChooseFormats(absl::Span<const TensorDesc> bottom,
                             absl::Span<const Shape> top) const override {
    return {{bottom[0].format}, {bottom[0].format}};
  }

 protected:
  bool channel_shared() const {
    return layer_param().prelu_param().channel_shared();
  }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_PRELU_LAYER_H_
