#include <algorithm>
#include <cstring>

#include "worker/layers/batch_reindex_layer.h"
#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"

namespace cssp::cpu {
namespace {

// Thread-confined: the training thread.
class BatchReindexLayerCpu final : public BatchReindexLayer {
 public:
  using BatchReindexLayer::BatchReindexLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    items_ = bottom[0].shape.dim(0);
    size_ = bottom[0].shape.count_from(1);
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* x = args.bottom[0].data();
    const float* index = args.bottom[1].data();
    for (int64_t i = 0; i < args.bottom[1].count(); ++i) {
      if (!Names(index[i], items_)) return BadIndex(index[i], i, items_);
      std::memcpy(args.top[0].data() + i * size_, x + Item(index[i]) * size_,
                  size_ * sizeof(float));
    }
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    if (gradient.mode == GradientMode::kNone) return absl::OkStatus();
    const float* index = args.bottom[1].data();
    const float* dy = args.top_gradient[0].data();
    float* dx = gradient.tensor.data();
    if (gradient.mode == GradientMode::kWrite) {
      std::memset(dx, 0, gradient.tensor.count() * sizeof(float));
    }
    for (int64_t i = 0; i < args.bottom[1].count(); ++i) {
      AddOnto(dx + Item(index[i]) * size_, dy + i * size_, size_);
    }
    return absl::OkStatus();
  }

 private:
  static int64_t Item(float index) { return static_cast<int64_t>(index); }

  int64_t items_ = 0, size_ = 0;
};

}  // namespace

absl::Status RegisterBatchReindex(LayerRegistry& registry) {
  return registry.Register("BatchReindex", DeviceType::kCpu,
                           MakeLayer<BatchReindexLayerCpu>);
}

}  // namespace cssp::cpu
