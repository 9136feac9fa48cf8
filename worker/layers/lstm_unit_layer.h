// One step of an LSTM, without its matrices.
#ifndef CSSP_WORKER_LAYERS_LSTM_UNIT_LAYER_H_
#define CSSP_WORKER_LAYERS_LSTM_UNIT_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// Bottoms: c_prev (1, N, D), gates (1, N, 4D) in the order i, f, o, g, and
// cont (1, N).  Tops: c and h, (1, N, D).  With s the logistic function:
//   c = cont s(f) c_prev + s(i) tanh(g),   h = s(o) tanh(c)
//
// Thread-confined: the training thread.
class LstmUnitLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override {
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  int min_bottoms() const override { return 3; }
  int max_bottoms() const override { return 3; }
  int min_tops() const override { return 2; }
  int max_tops() const override { return 2; }
  bool allow_force_backward(int bottom) const override { return bottom != 2; }
  bool propagates_to(int bottom) const override { return bottom != 2; }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_LSTM_UNIT_LAYER_H_
