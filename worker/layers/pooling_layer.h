// Pooling over one to three spatial axes: MAX, AVE and STOCHASTIC.
#ifndef CSSP_WORKER_LAYERS_POOLING_LAYER_H_
#define CSSP_WORKER_LAYERS_POOLING_LAYER_H_

#include <array>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "worker/net/layer.h"

namespace cssp {

// The bottom is (items, channels, spatial axes); kernel_size, stride and pad
// hold for every axis, their _h and _w forms are for two axes.
// Output: (in + 2 pad - kernel) / stride, rounded up unless round_mode is
// FLOOR, plus 1; with padding, a last window that would start outside the
// bottom and its leading padding is dropped.
//
// MAX: the greatest element of the window clipped to the bottom; the gradient
// goes to the first greatest.  An optional second top holds its row-major index
// among the spatial axes.
// AVE: the sum over the window clipped to the bottom, divided by the size of
// the window clipped to the padded bottom (in + pad on the far side).
// STOCHASTIC (no padding), on activations a = max(bottom, 0), S their sum over
// the window in row-major order, all in float:
//   TRAIN: the bottom's element at the first place where the running sum of a
//     exceeds u * S; the window's first element if S is 0.  The gradient goes
//     there.  Window i in Caffe's order takes u from draw i of the step's site
//     (worker/net/philox.h), whatever the format and the device.
//   TEST: sum(a^2) / S, or 0 if S is 0.
//
// Thread-confined: the training thread.
class PoolingLayer : public Layer {
 public:
  static constexpr int kMaxSpatialAxes = 3;

  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  int max_tops() const override;

 protected:
  // One entry per spatial axis.
  struct Window {
    absl::InlinedVector<int64_t, kMaxSpatialAxes> kernel, stride, pad;
  };
  struct Axis {
    int64_t in = 1, out = 1, kernel = 1, stride = 1, pad = 0;
  };

  bool is_max() const;
  bool is_stochastic() const;
  bool draws() const { return is_stochastic() && phase() == caffe::TRAIN; }
  bool has_mask() const { return layer_param().top_size() > 1; }
  // The window for this bottom: the whole map where global_pooling is set.
  Window WindowFor(const Shape& bottom) const;
  // The same with extents, as three axes: missing ones come first and do
  // nothing.
  std::array<Axis, kMaxSpatialAxes> AxesFor(const Shape& bottom,
                                            const Shape& top) const;
  size_t scratch_bytes_ = 0;  // set by Bind

 private:
  absl::Status ReadWindow(int axes);
  absl::Status CheckWindow() const;
  absl::Status CheckBottom(const Shape& bottom) const;
  int64_t OutputExtent(const Window& window, int i, int64_t input) const;

  Window window_;
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_POOLING_LAYER_H_
