// Joins bottoms along an axis, and its opposite.
#ifndef CSSP_WORKER_LAYERS_CONCAT_LAYER_H_
#define CSSP_WORKER_LAYERS_CONCAT_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// One tensor (`whole`) cut along an axis into parts, as memory sees it: `outer`
// rows, each of which is a run of part 0, a run of part 1 and so on.
struct PartLayout {
  int64_t outer = 0;
  std::vector<int64_t> run;  // stored elements per row, by part

  // All in one format; blocked ones need parts that FitBlocks.
  static PartLayout Of(int axis, absl::Span<const TensorDesc> parts);
  int64_t row() const;
};

// `format` if the parts can lie in it side by side, else Caffe's: along the
// channels every part must fill whole blocks.
Format PartFormat(Format format, int axis, absl::Span<const Shape> parts);

// top = bottoms one after the other along `axis` (or the legacy concat_dim).
// Blocked formats pass through.
//
// Thread-confined: the training thread.
class ConcatLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  FormatChoice ChooseFormats(absl::Span<const TensorDesc> bottom,
                             absl::Span<const Shape> top) const override;
  int max_bottoms() const override { return -1; }

 protected:
  int axis() const { return axis_; }

 private:
  int axis_ = 1;
};

// tops = pieces of the bottom along `axis` (or the legacy slice_dim): cut at
// slice_point, or into equal parts.
//
// Thread-confined: the training thread.
class SliceLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  FormatChoice ChooseFormats(absl::Span<const TensorDesc> bottom,
                             absl::Span<const Shape> top) const override;
  int max_tops() const override { return -1; }

 protected:
  int axis() const { return axis_; }

 private:
  int axis_ = 1;
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_CONCAT_LAYER_H_
