// SSD's default boxes at every cell of a feature map.
#ifndef CSSP_WORKER_LAYERS_PRIOR_BOX_LAYER_H_
#define CSSP_WORKER_LAYERS_PRIOR_BOX_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// bottom: a feature map (.. x H x W) and the image (.. x h x w); of both only
// the shape counts.  top: 1 x 2 x (H * W * boxes * 4); first xmin, ymin, xmax,
// ymax of every box in shares of the image, cell by cell, then the variances
// (one given: it is all four; none: 0.1).
//
// The boxes of a cell, for each min_size s: a square of s; with max_size t a
// square of sqrt(s t); for each aspect ratio a but 1 (flip: 1 / a behind it)
// s sqrt(a) x s / sqrt(a).  Centres: (cell + offset) * step, step by default
// image / map.  `clip` cuts the boxes to the image.
// Sizes keep their fractions (SSD's fork drops them).
//
// Thread-confined: the training thread.
class PriorBoxLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  int min_bottoms() const override { return 2; }
  int max_bottoms() const override { return 2; }
  bool allow_force_backward(int bottom) const override { return false; }
  bool propagates_to(int bottom) const override { return false; }

 protected:
  // The top's values.  After InferShapes has accepted the bottoms.
  std::vector<float> Priors(absl::Span<const Shape> bottom) const;

 private:
  // Sides in pixels.
  struct Size {
    float width = 0, height = 0;
  };
  const caffe::PriorBoxParameter& options() const {
    return layer_param().prior_box_param();
  }
  absl::Status ReadSizes();
  absl::Status ReadVariances();
  absl::StatusOr<Size> ImageOf(const Shape& image) const;
  absl::StatusOr<Size> StepOf(const Size& image, const Shape& map) const;

  std::vector<Size> sizes_;      // of one cell's boxes
  std::vector<float> variance_;  // four
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_PRIOR_BOX_LAYER_H_
