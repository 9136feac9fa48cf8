// Multiplies and shifts by values that are broadcast along the other axes.
#ifndef CSSP_WORKER_LAYERS_SCALE_LAYER_H_
#define CSSP_WORKER_LAYERS_SCALE_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// Scale: top = bottom * s + b      Bias: top = bottom + b
// with s and b of the shape of bottom 0's axes axis .. axis + num_axes - 1
// (-1: all the rest; 0: a scalar).  s (for Bias: b) is bottom 1 where there are
// two bottoms, else a parameter: filled by `filler`, by default with 1 (Bias:
// 0).  b of Scale is a parameter, if bias_term.
// Blocked formats pass where s and b are per channel.
//
// Thread-confined: the training thread.
class ScaleLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  FormatChoice ChooseFormats(absl::Span<const TensorDesc> bottom,
                             absl::Span<const Shape> top) const override;
  int max_bottoms() const override { return 2; }

 protected:
  // Where s and b come from.
  struct Operand {
    enum From { kNone, kParam, kBottom } from = kNone;
    int index = 0;
  };
  const Operand& scale() const { return scale_; }
  const Operand& bias() const { return bias_; }

  // bottom 0 as outer x count x inner.
  struct Extents {
    int64_t outer = 0, count = 0, inner = 0;
    bool per_channel = false;
  };
  absl::StatusOr<Extents> ExtentsOf(absl::Span<const Shape> bottom) const;

 private:
  bool only_bias() const { return type() == "Bias"; }
  int axis() const;
  int num_axes() const;
  // The shape of s and b, and their first axis in bottom 0.
  absl::StatusOr<Shape> OperandShape(absl::Span<const Shape> bottom,
                                     int* first) const;

  Operand scale_, bias_;
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_SCALE_LAYER_H_
