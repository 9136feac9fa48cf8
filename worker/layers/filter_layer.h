// Passes on the items that a selector names: the tops' shapes depend on data.
#ifndef CSSP_WORKER_LAYERS_FILTER_LAYER_H_
#define CSSP_WORKER_LAYERS_FILTER_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// The last bottom is the selector, one number for every item; top i holds the
// items of bottom i whose number is not 0, in order.  An item that was left
// out has gradient 0; the selector gets none.
//
// Thread-confined: the training thread.
class FilterLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  // All items: the upper bound.
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override;
  absl::Span<const Shape> ForwardShapes() override { return shapes_; }
  int min_bottoms() const override { return 2; }
  int max_bottoms() const override { return -1; }
  int max_tops() const override { return -1; }
  bool allow_force_backward(int bottom) const override {
    return propagates_to(bottom);
  }
  bool propagates_to(int bottom) const override {
    return bottom < layer_param().bottom_size() - 1;
  }

 protected:
  // For Forward: so many items were selected.
  void SetKept(int64_t items);

 private:
  std::vector<Shape> shapes_;  // of the tops
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_FILTER_LAYER_H_
