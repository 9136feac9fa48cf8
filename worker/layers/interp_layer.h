// Resampling of maps: bilinear with aligned corners, and nearest neighbour.
#ifndef CSSP_WORKER_LAYERS_INTERP_LAYER_H_
#define CSSP_WORKER_LAYERS_INTERP_LAYER_H_

#include <algorithm>
#include <vector>

#include "common/device/device_function.h"
#include "worker/net/layer.h"

namespace cssp {

// The two elements of a line between which an output element lies, and the
// share of the second.
struct InterpTap {
  int64_t first = 0, second = 0;
  float share = 0;
};

// One spatial axis: `out` elements over `in`, which start at `begin` of the
// bottom.  The first and last elements of both coincide.
struct InterpAxis {
  int64_t begin = 0, in = 0, out = 0;

  CSSP_DEVICE_FUNCTION InterpTap Tap(int64_t at) const {
    const double step = out > 1 ? static_cast<double>(in - 1) / (out - 1) : 0;
    const double place = step * at;
    InterpTap tap;
    tap.first = std::min(static_cast<int64_t>(place), in - 1);
    tap.second = std::min(tap.first + 1, in - 1);
    tap.share = static_cast<float>(place - tap.first);
    tap.first += begin;
    tap.second += begin;
    return tap;
  }
};

// Bilinear, of the bottom (N x C x H x W) less pad_beg and pad_end (<= 0: they
// crop) at its borders.  The top's extent, of h cropped:
//   shrink_factor s alone: (h - 1) / s + 1      zoom_factor z alone:
//   h + (h - 1) (z - 1)                         height and width: those
//   both factors: shrunk, then zoomed.
//
// Thread-confined: the training thread.
class InterpLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override {
    return InferShapes(bottom).status();
  }
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;

 protected:
  // Axis 2 or 3.
  absl::StatusOr<InterpAxis> AxisOf(const Shape& bottom, int axis) const;
};

// Nearest neighbour: every element becomes scale x scale of its kind.
//
// Thread-confined: the training thread.
class UpsampleLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override {
    return InferShapes(bottom).status();
  }
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;

 protected:
  int64_t scale() const { return layer_param().upsample_param().scale(); }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_INTERP_LAYER_H_
