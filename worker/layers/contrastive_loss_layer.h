// Pulls like pairs together and pushes unlike ones apart (Hadsell et al. 2006).
#ifndef CSSP_WORKER_LAYERS_CONTRASTIVE_LOSS_LAYER_H_
#define CSSP_WORKER_LAYERS_CONTRASTIVE_LOSS_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// bottom: a and b (N x C), and y (N): 1 for a like pair, 0 for an unlike one.
// With d the Euclidean distance of a pair and m the margin:
//   loss = sum over pairs of (y ? d^2 : max(m - d, 0)^2) / 2N
//   legacy_version:           y ? d^2 : max(m - d^2, 0)
// d/da of a like pair is (a - b) / N; of an unlike one within the margin
// -(m - d) / (d + 1e-4) * (a - b) / N, legacy -(a - b) / N; d/db its opposite.
//
// Thread-confined: the training thread.
class ContrastiveLossLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override {
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  int min_bottoms() const override { return 3; }
  int max_bottoms() const override { return 3; }
  bool is_loss() const override { return true; }
  bool allow_force_backward(int bottom) const override { return bottom != 2; }
  bool propagates_to(int bottom) const override { return bottom != 2; }

 protected:
  float margin() const {
    return layer_param().contrastive_loss_param().margin();
  }
  bool legacy() const {
    return layer_param().contrastive_loss_param().legacy_version();
  }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_CONTRASTIVE_LOSS_LAYER_H_
