// The share of items whose label is among the best scores.
#ifndef CSSP_WORKER_LAYERS_ACCURACY_LAYER_H_
#define CSSP_WORKER_LAYERS_ACCURACY_LAYER_H_

#include <optional>
#include <vector>

#include "worker/layers/label_axis.h"
#include "worker/net/layer.h"

namespace cssp {

// bottom: scores, labels.  top: the share of labels, ignored ones left out,
// for which fewer than top_k other classes score as much or more; optionally
// the same per class (0 for a class that does not occur).
//
// Thread-confined: the training thread.
class AccuracyLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  int min_bottoms() const override { return 2; }
  int max_bottoms() const override { return 2; }
  int max_tops() const override { return 2; }
  bool propagates_to(int bottom) const override { return false; }
  bool allow_force_backward(int bottom) const override { return false; }

 protected:
  absl::StatusOr<LabelAxis> AxisOf(const Shape& scores) const;
  int64_t top_k() const { return layer_param().accuracy_param().top_k(); }
  std::optional<int> ignore_label() const;
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_ACCURACY_LAYER_H_
