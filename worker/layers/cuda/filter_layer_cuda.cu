#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/cuda/scan.cuh"
#include "worker/layers/filter_layer.h"

namespace cssp::cuda {
namespace {

// Keeps each item's place in the tops from Forward to Backward.
// Thread-confined: the training thread.
class FilterLayerCuda final : public CudaLayer<FilterLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    items_ = bottom.back().shape.dim(0);
    set_scratch_bytes(sizeof(int64_t));
    RETURN_IF_ERROR(Allocate(items_ * sizeof(int64_t), &place_));
    ASSIGN_OR_RETURN(kept_, device().AllocateHost(sizeof(int64_t)));
    return FilterLayer::Bind(bottom, top);
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* selector = args.bottom.back().data();
    int64_t* place = static_cast<int64_t*>(place_.data());
    auto* kept = reinterpret_cast<int64_t*>(step.scratch().data());
    RETURN_IF_ERROR(Scan(
        step.stream(), items_, kept,
        [=] __device__(int64_t n) { return int64_t{selector[n] != 0}; },
        [=] __device__(int64_t n, int64_t at) {
          place[n] = selector[n] != 0 ? at : -1;
        }));
    for (size_t i = 0; i < args.top.size(); ++i) {
      const int64_t size = args.bottom[i].shape().count_from(1);
      const float* x = args.bottom[i].data();
      float* y = args.top[i].data();
      RETURN_IF_ERROR(
          ForEach(step.stream(), items_ * size, [=] __device__(int64_t j) {
            const int64_t at = place[j / size];
            if (at >= 0) y[at * size + j % size] = x[j];
          }));
    }
    return device().CopyToHost(step.stream(), kept_.data(), kept,
                               sizeof(int64_t));
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const int64_t* place = static_cast<const int64_t*>(place_.data());
    for (size_t i = 0; i < args.top_gradient.size(); ++i) {
      const GradientTensor& gradient = args.bottom_gradient[i];
      if (gradient.mode == GradientMode::kNone) continue;
      const int64_t size = gradient.tensor.shape().count_from(1);
      const float* dy = args.top_gradient[i].data();  // null: nobody uses it
      RETURN_IF_ERROR(
          Store(step.stream(), gradient.mode, gradient.tensor.data(),
                gradient.tensor.count(), [=] __device__(int64_t j) {
                  const int64_t at = place[j / size];
                  return at < 0 || dy == nullptr ? 0.0f
                                                 : dy[at * size + j % size];
                }));
    }
    return absl::OkStatus();
  }

  absl::Span<const Shape> ForwardShapes() override {
    SetKept(*static_cast<const int64_t*>(kept_.data()));
    return FilterLayer::ForwardShapes();
  }

 private:
  int64_t items_ = 0;
  Buffer place_;  // per item, int64: -1 where it is left out
  Buffer kept_;   // the host's: one int64
};

}  // namespace

absl::Status RegisterFilter(LayerRegistry& registry) {
  return registry.Register("Filter", DeviceType::kCuda,
                           MakeCudaLayer<FilterLayerCuda>);
}

}  // namespace cssp::cuda
