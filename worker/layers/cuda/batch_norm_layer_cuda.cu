#include <algorithm>

#include "common/base/status_macros.h"
#include "worker/layers/batch_norm_layer.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/cuda/reduce.cuh"

namespace cssp::cuda {
namespace {

// One float a channel each, kept from Forward to Backward.
struct Statistics {
  float* mean;
  float* inverse;  // 1 / sqrt(variance + eps)
  float* mean_dy;
  float* mean_dy_y;
};

// The normalised value, kept as the top or made from the bottom again.
struct Normalised {
  const float* x;  // null: y is there
  const float* y;
  Statistics s;
  __device__ float operator()(int64_t i, int64_t c) const {
    return x == nullptr ? y[i] : (x[i] - s.mean[c]) * s.inverse[c];
  }
};

// Thread-confined: the training thread.
class BatchNormLayerCuda final : public CudaLayer<BatchNormLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    const Shape& shape = bottom[0].shape;
    view_ = shape.num_axes() == 1 ? ChannelView{shape.dim(0), 1, 1}
                                  : ChannelView::Of(shape, 1);
    set_scratch_bytes(ChannelSumPlan(view_).scratch_bytes());
    return Allocate(4 * view_.channels * sizeof(float), &memory_);
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    RETURN_IF_ERROR(use_global_stats() ? LoadGlobal(step, args)
                                       : MeasureBatch(step, args));
    const float* x = args.bottom[0].data();
    const float* scale = fused() ? args.param[3].data() : nullptr;
    const float* bias = fused() ? args.param[4].data() : nullptr;
    const Statistics s = statistics();
    const ChannelView view = view_;
    return Fill(step.stream(), args.top[0].data(), view.count(),
                [=] __device__(int64_t i) {
                  const int64_t c = view.Channel(i);
                  const float y = (x[i] - s.mean[c]) * s.inverse[c];
                  return scale == nullptr ? y : y * scale[c] + bias[c];
                });
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const float* dy = args.top_gradient[0].data();
    const Statistics s = statistics();
    const Normalised y{fused() ? args.bottom[0].data() : nullptr,
                       fused() ? nullptr : args.top[0].data(), s};
    const bool batch = !use_global_stats();
    if (batch || fused()) {
      const Slot ds = fused() ? Slot::Of(args.param_gradient[3]) : Slot();
      const Slot db = fused() ? Slot::Of(args.param_gradient[4]) : Slot();
      const float count = values_per_channel();
      RETURN_IF_ERROR(SumChannels<SumPair>(
          step.stream(), view_, step.scratch().data(),
          [=] __device__(int64_t i, int64_t c) {
            return SumPair{dy[i], double{dy[i]} * y(i, c)};
          },
          [=] __device__(int64_t c, SumPair sum) {
            const float a = static_cast<float>(sum.a);
            const float b = static_cast<float>(sum.b);
            db.Put(c, a);
            ds.Put(c, b);
            s.mean_dy[c] = a / count;
            s.mean_dy_y[c] = b / count;
          }));
    }
    const GradientTensor& gradient = args.bottom_gradient[0];
    const float* scale = fused() ? args.param[3].data() : nullptr;
    const ChannelView view = view_;
    return Store(step.stream(), gradient.mode, gradient.tensor.data(),
                 view.count(), [=] __device__(int64_t i) {
                   const int64_t c = view.Channel(i);
                   float v = dy[i];
                   // Global statistics are constants: nothing flows there.
                   if (batch) v = v - s.mean_dy[c] - s.mean_dy_y[c] * y(i, c);
                   v *= s.inverse[c];
                   return scale == nullptr ? v : v * scale[c];
                 });
  }

  // Public only since device lambdas may not stand in private functions.
  absl::Status LoadGlobal(StepContext& step, const ForwardArgs& args) {
    const float* means = args.param[0].data();
    const float* variances = args.param[1].data();
    const float* factor = args.param[2].data();
    const Slot slot0 = Slot::Of(args.param_gradient[0]);
    const Slot slot1 = Slot::Of(args.param_gradient[1]);
    const Slot slot2 = Slot::Of(args.param_gradient[2]);
    const Statistics s = statistics();
    const float eps = this->eps();
    return ForEach(step.stream(), view_.channels, [=] __device__(int64_t c) {
      const float inverse = *factor == 0 ? 0 : 1 / *factor;
      s.mean[c] = means[c] * inverse;
      s.inverse[c] = 1 / sqrtf(variances[c] * inverse + eps);
      slot0.Put(c, 0);  // they contribute nothing
      slot1.Put(c, 0);
      if (c == 0) slot2.Put(0, 0);
    });
  }

  absl::Status MeasureBatch(StepContext& step, const ForwardArgs& args) {
    const float* x = args.bottom[0].data();
    const Statistics s = statistics();
    const float m = values_per_channel(), eps = this->eps();
    const float unbiased = m > 1 ? m / (m - 1) : 1;
    const Slot mean = Slot::Of(args.param_gradient[0]);
    const Slot variance = Slot::Of(args.param_gradient[1]);
    const Slot factor = Slot::Of(args.param_gradient[2]);
    RETURN_IF_ERROR(SumChannels<double>(
        step.stream(), view_, step.scratch().data(),
        [=] __device__(int64_t i, int64_t) { return double{x[i]}; },
        [=] __device__(int64_t c, double sum) {
          s.mean[c] = static_cast<float>(sum) / m;
          mean.Put(c, s.mean[c]);
          if (c == 0) factor.Put(0, 1);
        }));
    return SumChannels<double>(
        step.stream(), view_, step.scratch().data(),
        [=] __device__(int64_t i, int64_t c) {
          const double d = double{x[i]} - s.mean[c];
          return d * d;
        },
        [=] __device__(int64_t c, double sum) {
          const float v = static_cast<float>(sum) / m;
          s.inverse[c] = 1 / sqrtf(v + eps);
          variance.Put(c, unbiased * v);
        });
  }

 private:
  float values_per_channel() const {
    return static_cast<float>(
        std::max<int64_t>(view_.items * view_.positions, 1));
  }

  Statistics statistics() const {
    float* p = memory_.floats();
    const int64_t n = view_.channels;
    return {p, p + n, p + 2 * n, p + 3 * n};
  }

  ChannelView view_;
  Buffer memory_;
};

}  // namespace

absl::Status RegisterBatchNorm(LayerRegistry& registry) {
  return registry.Register("BatchNorm", DeviceType::kCuda,
                           MakeCudaLayer<BatchNormLayerCuda>);
}

}  // namespace cssp::cuda
