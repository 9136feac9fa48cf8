// The multinomial logistic loss weighted by a matrix of classes by classes.
#ifndef CSSP_WORKER_LAYERS_INFOGAIN_LOSS_LAYER_H_
#define CSSP_WORKER_LAYERS_INFOGAIN_LOSS_LAYER_H_

#include <optional>
#include <string>
#include <vector>

#include "worker/layers/label_axis.h"
#include "worker/layers/loss_normalizer.h"
#include "worker/net/layer.h"

namespace cssp {

// bottom: scores, labels, and optionally H (classes x classes, in any shape of
// so many elements); else H is the blob of the .binaryproto file
// infogain_loss_param.source.  top: the loss, and optionally the
// probabilities p, the softmax of the scores along infogain_loss_param.axis.
//   loss = - sum over labels l, classes c of H(l, c) log(max(p(c), 1e-20)) / D
//   d loss / d score(c) = (p(c) * sum over k of H(l, k) - H(l, c)) / D
// Ignored labels count in neither.  D: loss_normalizer.h, by default VALID.
// No gradient for H.
//
// Thread-confined: the training thread.
class InfogainLossLayer : public Layer {
 public:
  using Layer::Layer;
  static constexpr float kLeastProbability = 1e-20f;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  int min_bottoms() const override { return 2; }
  int max_bottoms() const override { return 3; }
  int max_tops() const override { return 2; }
  bool is_loss() const override { return true; }
  bool allow_force_backward(int bottom) const override { return bottom == 0; }
  bool propagates_to(int bottom) const override { return bottom == 0; }

 protected:
  absl::StatusOr<LabelAxis> AxisOf(const Shape& scores) const {
    return LabelAxis::Of(scores, layer_param().infogain_loss_param().axis());
  }
  // H where it comes from the file; empty where it is bottom 2.
  const std::vector<float>& matrix() const { return matrix_; }
  std::optional<int> ignore_label() const { return ignore_label_; }
  caffe::LossParameter::NormalizationMode normalization() const {
    return normalization_;
  }
  double Divisor(const LabelAxis& axis, int64_t valid) const {
    return LossDivisor(normalization_, axis.outer, axis.inner, valid);
  }

 private:
  absl::Status ReadMatrix();

  std::vector<float> matrix_;
  std::optional<int> ignore_label_;
  caffe::LossParameter::NormalizationMode normalization_ =
      caffe::LossParameter::VALID;
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_INFOGAIN_LOSS_LAYER_H_
