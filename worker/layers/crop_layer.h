// Cuts a blob to the size of another.
#ifndef CSSP_WORKER_LAYERS_CROP_LAYER_H_
#define CSSP_WORKER_LAYERS_CROP_LAYER_H_

#include <vector>

#include "worker/layers/strided_map.h"
#include "worker/net/layer.h"

namespace cssp {

// From `axis` on the top has the extents of bottom 1, taken out of bottom 0 at
// `offset`: none (0), one for all cropped axes, or one for each.  The axes
// before stay whole.  Bottom 0's gradient is 0 outside; bottom 1 gets none.
//
// Thread-confined: the training thread.
class CropLayer : public Layer {
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
  // Where the top lies in bottom 0.  After InferShapes has accepted it.
  StridedMap MapOf(const Shape& bottom, const Shape& top) const;

 private:
  // One for every axis of bottom 0; 0 before the first cropped one.
  std::vector<int64_t> Offsets(int num_axes, int first) const;
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_CROP_LAYER_H_
