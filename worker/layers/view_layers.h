// The bottom under another shape: no kernels, on any device.
#ifndef CSSP_WORKER_LAYERS_VIEW_LAYERS_H_
#define CSSP_WORKER_LAYERS_VIEW_LAYERS_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// The plan aliases the memory and never runs a view.
// Thread-confined: the training thread.
class ViewLayer : public Layer {
 public:
  using Layer::Layer;

  LayerTraits Traits() const override;
  absl::Status Forward(StepContext& step, const ForwardArgs& args) override;
  absl::Status Backward(StepContext& step, const BackwardArgs& args) override;
};

// Axes axis .. end_axis become one.
class FlattenLayer final : public ViewLayer {
 public:
  using ViewLayer::ViewLayer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override {
    return InferShapes(bottom).status();
  }
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
};

// Axes axis .. axis + num_axes - 1 (-1: all the rest) become reshape_param's
// shape, in which 0 copies the bottom's extent and one -1 is inferred.
class ReshapeLayer final : public ViewLayer {
 public:
  using ViewLayer::ViewLayer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override {
    return InferShapes(bottom).status();
  }
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_VIEW_LAYERS_H_
