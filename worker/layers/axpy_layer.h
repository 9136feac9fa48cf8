// Channel-wise scaling and a sum in one (squeeze and excitation).
#ifndef CSSP_WORKER_LAYERS_AXPY_LAYER_H_
#define CSSP_WORKER_LAYERS_AXPY_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// bottom: a (N x C, further axes of 1 allowed), x (N x C x ...), y (like x).
//   top = a x + y; da = sum over positions of dtop x, dx = a dtop, dy = dtop.
//
// Thread-confined: the training thread.
class AxpyLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override {
    return InferShapes(bottom).status();
  }
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  int min_bottoms() const override { return 3; }
  int max_bottoms() const override { return 3; }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_AXPY_LAYER_H_
