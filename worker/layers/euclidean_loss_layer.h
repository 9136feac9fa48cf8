// Half the mean squared distance.
#ifndef CSSP_WORKER_LAYERS_EUCLIDEAN_LOSS_LAYER_H_
#define CSSP_WORKER_LAYERS_EUCLIDEAN_LOSS_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// loss = sum (a - b)^2 / 2N, N the extent of axis 0; d/da = (a - b) / N and
// d/db is its opposite.
//
// Thread-confined: the training thread.
class EuclideanLossLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override {
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  int min_bottoms() const override { return 2; }
  int max_bottoms() const override { return 2; }
  bool is_loss() const override { return true; }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_EUCLIDEAN_LOSS_LAYER_H_
