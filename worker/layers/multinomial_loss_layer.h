// The multinomial logistic loss of given probabilities.
#ifndef CSSP_WORKER_LAYERS_MULTINOMIAL_LOSS_LAYER_H_
#define CSSP_WORKER_LAYERS_MULTINOMIAL_LOSS_LAYER_H_

#include <vector>

#include "worker/layers/label_axis.h"
#include "worker/net/layer.h"

namespace cssp {

// bottom: probabilities p (N x classes), labels (N).
//   loss = - sum over items of log(max(p(label), 1e-20)) / N
//   d loss / d p(label) = -1 / (max(p(label), 1e-20) * N), else 0.
// For scores SoftmaxWithLoss is steadier.
//
// Thread-confined: the training thread.
class MultinomialLossLayer : public Layer {
 public:
  using Layer::Layer;
  static constexpr float kLeastProbability = 1e-20f;

  absl::Status SetUp(absl::Span<const Shape> bottom) override {
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  int min_bottoms() const override { return 2; }
  int max_bottoms() const override { return 2; }
  bool is_loss() const override { return true; }
  bool allow_force_backward(int bottom) const override { return bottom != 1; }
  bool propagates_to(int bottom) const override { return bottom != 1; }

 protected:
  // An item's elements are its classes, whatever its axes.
  static LabelAxis AxisOf(const Shape& p) {
    return LabelAxis{p.dim(0), p.count_from(1), 1};
  }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_MULTINOMIAL_LOSS_LAYER_H_
