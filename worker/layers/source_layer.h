// What layers without bottoms have in common.
#ifndef CSSP_WORKER_LAYERS_SOURCE_LAYER_H_
#define CSSP_WORKER_LAYERS_SOURCE_LAYER_H_

#include "worker/net/layer.h"

namespace cssp {

// Thread-confined: the training thread.  Produces its tops; nothing flows back.
class SourceLayer : public Layer {
 public:
  using Layer::Layer;

  LayerTraits Traits() const override {
    LayerTraits traits;
    traits.backward_reads_bottom = 0;
    traits.backward_reads_top = 0;
    traits.has_backward = false;
    traits.is_source = true;
    return traits;
  }
  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    return absl::OkStatus();
  }
  int min_bottoms() const override { return 0; }
  int max_bottoms() const override { return 0; }
  int max_tops() const override { return -1; }

 protected:
  int num_tops() const { return layer_param().top_size(); }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_SOURCE_LAYER_H_
