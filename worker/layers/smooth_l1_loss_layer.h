// A loss that is square near zero and linear beyond (Fast R-CNN).
#ifndef CSSP_WORKER_LAYERS_SMOOTH_L1_LOSS_LAYER_H_
#define CSSP_WORKER_LAYERS_SMOOTH_L1_LOSS_LAYER_H_

#include <cmath>
#include <vector>

#include "common/device/device_function.h"
#include "worker/net/layer.h"

namespace cssp {

// f(d) = 0.5 (sigma d)^2 where |d| < 1 / sigma^2, else |d| - 0.5 / sigma^2.
struct SmoothL1 {
  float square = 1;  // sigma^2

  CSSP_DEVICE_FUNCTION float Value(float d) const {
    const float size = std::fabs(d);
    return size < 1 / square ? 0.5f * square * d * d : size - 0.5f / square;
  }
  CSSP_DEVICE_FUNCTION float Slope(float d) const {
    if (std::fabs(d) < 1 / square) return square * d;
    return d > 0 ? 1.0f : -1.0f;
  }
};

// bottom: a, b, and optionally inside weights u, and outside weights v.
//   loss = sum of v f(u (a - b)) / N, N the extent of axis 0
//   d/da = v u f'(u (a - b)) / N, d/db its opposite.
//
// Thread-confined: the training thread.
class SmoothL1LossLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  int min_bottoms() const override { return 2; }
  int max_bottoms() const override { return 4; }
  bool is_loss() const override { return true; }
  bool allow_force_backward(int bottom) const override { return bottom < 2; }
  bool propagates_to(int bottom) const override { return bottom < 2; }

 protected:
  SmoothL1 function() const {
    const float sigma = layer_param().smooth_l1_loss_param().sigma();
    return SmoothL1{sigma * sigma};
  }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_SMOOTH_L1_LOSS_LAYER_H_
