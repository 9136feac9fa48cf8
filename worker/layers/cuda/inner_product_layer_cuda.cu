#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/gemm.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/cuda/reduce.cuh"
#include "worker/layers/inner_product_layer.h"

namespace cssp::cuda {
namespace {

// Thread-confined: the training thread.
class InnerProductLayerCuda final : public CudaLayer<InnerProductLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    rows_ = {bottom[0].shape.count() / inputs(), num_output(), 1};
    set_scratch_bytes(ChannelSumPlan(rows_).scratch_bytes());
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const int64_t n = num_output(), k = inputs();
    float* y = args.top[0].data();
    if (bias()) {
      const float* b = args.param[1].data();
      RETURN_IF_ERROR(Fill(step.stream(), y, rows_.count(),
                           [=] __device__(int64_t i) { return b[i % n]; }));
    }
    return Gemm(step.stream(), {false, !transpose(), rows_.items, n, k},
                args.bottom[0].data(), args.param[0].data(), bias() ? 1 : 0, y);
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const int64_t m = rows_.items, n = num_output(), k = inputs();
    const float* dy = args.top_gradient[0].data();
    if (const GradientTensor& w = args.param_gradient[0];
        w.mode != GradientMode::kNone) {
      const float* x = args.bottom[0].data();
      RETURN_IF_ERROR(transpose() ? Gemm(step.stream(), {true, false, k, n, m},
                                         x, dy, Beta(w.mode), w.tensor.data())
                                  : Gemm(step.stream(), {true, false, n, k, m},
                                         dy, x, Beta(w.mode), w.tensor.data()));
    }
    if (bias() && args.param_gradient[1].mode != GradientMode::kNone) {
      const Slot db = Slot::Of(args.param_gradient[1]);
      RETURN_IF_ERROR(SumChannels<double>(
          step.stream(), rows_, step.scratch().data(),
          [=] __device__(int64_t i, int64_t) { return double{dy[i]}; },
          [=] __device__(int64_t c, double sum) {
            db.Put(c, static_cast<float>(sum));
          }));
    }
    const GradientTensor& x = args.bottom_gradient[0];
    if (x.mode == GradientMode::kNone) return absl::OkStatus();
    return Gemm(step.stream(), {false, transpose(), m, k, n}, dy,
                args.param[0].data(), Beta(x.mode), x.tensor.data());
  }

 private:
  ChannelView rows_;  // the top
};

}  // namespace

absl::Status RegisterInnerProduct(LayerRegistry& registry) {
  return registry.Register("InnerProduct", DeviceType::kCuda,
                           MakeCudaLayer<InnerProductLayerCuda>);
}

}  // namespace cssp::cuda
