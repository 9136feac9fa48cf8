// The cross entropy of sigmoids.
#ifndef CSSP_WORKER_LAYERS_SIGMOID_LOSS_LAYER_H_
#define CSSP_WORKER_LAYERS_SIGMOID_LOSS_LAYER_H_

#include <optional>
#include <vector>

#include "worker/layers/loss_normalizer.h"
#include "worker/net/layer.h"

namespace cssp {

// bottom: scores x, targets t in [0, 1], of one count.  With p = sigmoid(x):
//   loss = - sum (t log p + (1 - t) log(1 - p)) / divisor
//   d loss / dx = (p - t) / divisor
// Targets equal to ignore_label count in neither.  The divisor is BATCH_SIZE's
// unless loss_param says else (loss_normalizer.h).
//
// Thread-confined: the training thread.
class SigmoidCrossEntropyLossLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  int min_bottoms() const override { return 2; }
  int max_bottoms() const override { return 2; }
  bool is_loss() const override { return true; }
  bool allow_force_backward(int bottom) const override { return bottom != 1; }
  bool propagates_to(int bottom) const override { return bottom != 1; }

 protected:
  std::optional<int> ignore_label() const { return ignore_label_; }
  caffe::LossParameter::NormalizationMode normalization() const {
    return normalization_;
  }
  double Divisor(const Shape& scores, int64_t valid) const {
    return LossDivisor(normalization_, scores.dim(0), scores.count_from(1),
                       valid);
  }

 private:
  std::optional<int> ignore_label_;
  caffe::LossParameter::NormalizationMode normalization_ =
      caffe::LossParameter::BATCH_SIZE;
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_SIGMOID_LOSS_LAYER_H_
