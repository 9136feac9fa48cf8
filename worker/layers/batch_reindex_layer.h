// Selects, repeats and reorders items by index.
#ifndef CSSP_WORKER_LAYERS_BATCH_REINDEX_LAYER_H_
#define CSSP_WORKER_LAYERS_BATCH_REINDEX_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// top(i) = bottom 0's item bottom1(i); bottom 1 has one axis.  An item's
// gradient is the sum of the top's at its occurrences, in their order.  An
// index that names no item is InvalidArgument.  Bottom 1 gets no gradient.
//
// Thread-confined: the training thread.
class BatchReindexLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override {
    return InferShapes(bottom).status();
  }
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  int min_bottoms() const override { return 2; }
  int max_bottoms() const override { return 2; }
  bool allow_force_backward(int bottom) const override { return bottom == 0; }
  bool propagates_to(int bottom) const override { return bottom == 0; }

 protected:
  // An index is a float in Caffe; fractions are dropped.
  static bool Names(float index, int64_t items) {
    return index >= 0 && index < static_cast<float>(items);
  }
  static absl::Status BadIndex(float index, int64_t position, int64_t items);
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_BATCH_REINDEX_LAYER_H_
