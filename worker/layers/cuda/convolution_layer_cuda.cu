#include <algorithm>

#include "common/base/status_macros.h"
#include "worker/layers/convolution_layer.h"
#include "worker/layers/cuda/convolution_engine.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/gemm.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/cuda/reduce.cuh"
#include "worker/layers/deconvolution_layer.h"

namespace cssp::cuda {

// Of several bottoms the first obeys the mode, later ones add to its sum.
GradientTensor Later(GradientTensor gradient) {
  if (gradient.mode == GradientMode::kWrite) {
    gradient.mode = GradientMode::kAdd;
  }
  return gradient;
}

// Convolution and Deconvolution: the three directions with the roles of
// bottom and top as they are, or exchanged.  The bias is ours.
//
// Thread-confined: the training thread.
template <class Base, bool kTransposed>
class ConvolutionLayerCuda final : public CudaLayer<Base> {
 public:
  using CudaLayer<Base>::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    const Shape& below = bottom[0].shape;
    const Shape& above = top[0].shape;
    ASSIGN_OR_RETURN(
        convolution_,
        MakeConvolution(this->device(), {.x = kTransposed ? above : below,
                                         .y = kTransposed ? below : above,
                                         .geometry = this->geometry(),
                                         .group = this->group()}));
    top_ = ChannelView::Of(above, this->geometry().channel_axis);
    this->set_scratch_bytes(std::max(convolution_->scratch_bytes(),
                                     ChannelSumPlan(top_).scratch_bytes()));
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* w = args.param[0].data();
    void* scratch = step.scratch().data();
    for (size_t i = 0; i < args.bottom.size(); ++i) {
      const float* x = args.bottom[i].data();
      float* y = args.top[i].data();
      RETURN_IF_ERROR(
          kTransposed
              ? convolution_->BackwardData(step.stream(), x, w, 0, y, scratch)
              : convolution_->Forward(step.stream(), x, w, 0, y, scratch));
      if (!this->bias()) continue;
      const float* b = args.param[1].data();
      const ChannelView view = top_;
      RETURN_IF_ERROR(
          ForEach(step.stream(), view.count(),
                  [=] __device__(int64_t k) { y[k] += b[view.Channel(k)]; }));
    }
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    GradientTensor weight = args.param_gradient[0], bias;
    if (this->bias()) bias = args.param_gradient[1];
    const float* w = args.param[0].data();
    void* scratch = step.scratch().data();
    for (size_t i = 0; i < args.bottom.size(); ++i) {
      const float* dy = args.top_gradient[i].data();
      if (dy == nullptr) continue;
      RETURN_IF_ERROR(WeightGradient(step, args.bottom[i].data(), dy, weight));
      RETURN_IF_ERROR(BiasGradient(step, dy, bias));
      weight = Later(weight);
      bias = Later(bias);
      const GradientTensor& dx = args.bottom_gradient[i];
      if (dx.mode == GradientMode::kNone) continue;
      RETURN_IF_ERROR(
          kTransposed
              ? convolution_->Forward(step.stream(), dy, w, Beta(dx.mode),
                                     dx.tensor.data(), scratch)
              : convolution_->BackwardData(step.stream(), dy, w, Beta(dx.mode),
                                          dx.tensor.data(), scratch));
    }
    return absl::OkStatus();
  }

  // Public only since device lambdas may not stand in private functions.
  absl::Status BiasGradient(StepContext& step, const float* dy,
                            const GradientTensor& gradient) {
    if (gradient.mode == GradientMode::kNone) return absl::OkStatus();
    const Slot slot = Slot::Of(gradient);
    return SumChannels<double>(
        step.stream(), top_, step.scratch().data(),
        [=] __device__(int64_t k, int64_t) { return double{dy[k]}; },
        [=] __device__(int64_t c, double sum) {
          slot.Put(c, static_cast<float>(sum));
        });
  }

 private:
  absl::Status WeightGradient(StepContext& step, const float* x,
                              const float* dy, const GradientTensor& gradient) {
    if (gradient.mode == GradientMode::kNone) return absl::OkStatus();
    return convolution_->BackwardFilter(
        step.stream(), kTransposed ? dy : x, kTransposed ? x : dy,
        Beta(gradient.mode), gradient.tensor.data(), step.scratch().data());
  }

  std::unique_ptr<ConvolutionEngine> convolution_;
  ChannelView top_;
};

absl::Status RegisterConvolution(LayerRegistry& registry) {
  using Convolution = ConvolutionLayerCuda<ConvolutionLayer, false>;
  for (const char* type :
       {"Convolution", "DepthwiseConvolution", "ConvolutionDepthwise"}) {
    RETURN_IF_ERROR(
        registry.Register(type, DeviceType::kCuda, MakeCudaLayer<Convolution>));
  }
  return registry.Register(
      "Deconvolution", DeviceType::kCuda,
      MakeCudaLayer<ConvolutionLayerCuda<DeconvolutionLayer, true>>);
}

}  // namespace cssp::cuda
