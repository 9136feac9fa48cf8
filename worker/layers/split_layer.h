// One bottom for several readers.
#ifndef CSSP_WORKER_LAYERS_SPLIT_LAYER_H_
#define CSSP_WORKER_LAYERS_SPLIT_LAYER_H_

#include <algorithm>
#include <vector>

#include "worker/layers/formats.h"
#include "worker/net/layer.h"

namespace cssp {

// Every top is the bottom; the bottom's gradient is the sum of the tops', in
// their order.  Put in by the net where a blob has several readers.  A top may
// share the bottom's memory: then nothing is copied.
//
// Thread-confined: the training thread.
class SplitLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override {
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override {
    return std::vector<Shape>(std::max(layer_param().top_size(), 1),
                              bottom[0]);
  }
  LayerTraits Traits() const override {
    LayerTraits traits;
    traits.backward_reads_bottom = 0;
    traits.backward_reads_top = 0;
    traits.shares_data = true;
    return traits;
  }
  FormatChoice ChooseFormats(absl::Span<const TensorDesc> bottom,
                             absl::Span<const Shape> top) const override {
    return Everywhere(bottom[0].format, 1, top.size());
  }
  int max_tops() const override { return -1; }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_SPLIT_LAYER_H_
