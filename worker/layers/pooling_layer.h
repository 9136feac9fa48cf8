// Pooling in two dimensions: MAX and AVE.
#ifndef CSSP_WORKER_LAYERS_POOLING_LAYER_H_
#define CSSP_WORKER_LAYERS_POOLING_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// Output: (H + 2 pad - kernel) / stride, rounded up unless round_mode is FLOOR,
// plus 1; with padding, a last window that would start outside the bottom and
// its leading padding is dropped.
//
// MAX: the greatest element of the window clipped to the bottom; the gradient
// goes to the first greatest.  An optional second top holds its index,
// h * W + w.
// AVE: the sum over the window clipped to the bottom, divided by the size of
// the window clipped to the padded bottom (H + pad on the far side).
//
// Thread-confined: the training thread.
class PoolingLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  int max_tops() const override;

 protected:
  // Index 0: height, 1: width.
  struct Window {
    int64_t kernel[2] = {0, 0};
    int64_t stride[2] = {1, 1};
    int64_t pad[2] = {0, 0};
  };
  bool is_max() const;
  bool has_mask() const { return layer_param().top_size() > 1; }
  // The window for this bottom: the whole map where global_pooling is set.
  Window WindowFor(const Shape& bottom) const;
  size_t scratch_bytes_ = 0;  // set by Bind

 private:
  absl::Status ReadWindow();
  int64_t OutputExtent(const Window& window, int i, int64_t input) const;

  Window window_;
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_POOLING_LAYER_H_
