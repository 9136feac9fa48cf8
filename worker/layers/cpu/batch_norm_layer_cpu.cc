#include "worker/layers/batch_norm_layer.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"

namespace cssp::cpu {
namespace {

// Thread-confined: the training thread.
// Per-channel members have the padding lanes too; zeros there keep those of the
// top and of the gradients zero.
class BatchNormLayerCpu final : public BatchNormLayer {
 public:
  using BatchNormLayer::BatchNormLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    const Shape& shape = bottom[0].shape;
    if (shape.num_axes() == 1) {
      view_ = ChannelView{.items = shape.dim(0),
                          .channels = 1,
                          .positions = 1,
                          .lanes = 1,
                          .blocks = 1};
    } else {
      view_ = ChannelView::Of(bottom[0], 1);
    }
    for (std::vector<float>* v :
         {&mean_, &variance_, &inverse_, &mean_dy_, &mean_dy_y_, &scale_,
          &bias_}) {
      v->assign(view_.blocks * view_.lanes, 0.0f);
    }
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* x = args.bottom[0].data();
    if (use_global_stats()) {
      LoadGlobal(args.param);
      ContributeNothing(args.param_gradient);
    } else {
      MeasureBatch(x);
      Contribute(args.param_gradient);
    }
    for (int64_t c = 0; c < view_.channels; ++c) {
      inverse_[c] = 1 / std::sqrt(variance_[c] + eps());
    }
    const float* mean = mean_.data();
    const float* inverse = inverse_.data();
    if (fused()) return ForwardFused(x, args);
    MapChannels(view_, GradientMode::kWrite, args.top[0].data(),
                [=](int64_t i, int64_t c) {
                  return (x[i] - mean[c]) * inverse[c];
                });
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    if (fused()) return BackwardFused(args);
    const GradientTensor& gradient = args.bottom_gradient[0];
    if (gradient.mode == GradientMode::kNone) return absl::OkStatus();
    const float* dy = args.top_gradient[0].data();
    const float* inverse = inverse_.data();
    if (use_global_stats()) {
      MapChannels(view_, gradient.mode, gradient.tensor.data(),
                  [=](int64_t i, int64_t c) { return dy[i] * inverse[c]; });
      return absl::OkStatus();
    }
    const float* y = args.top[0].data();
    SumChannels(view_, mean_dy_.data(),
                [=](int64_t i, int64_t) { return dy[i]; });
    SumChannels(view_, mean_dy_y_.data(),
                [=](int64_t i, int64_t) { return double{dy[i]} * y[i]; });
    Divide(&mean_dy_);
    Divide(&mean_dy_y_);
    const float* a = mean_dy_.data();
    const float* b = mean_dy_y_.data();
    MapChannels(view_, gradient.mode, gradient.tensor.data(),
                [=](int64_t i, int64_t c) {
                  return (dy[i] - a[c] - b[c] * y[i]) * inverse[c];
                });
    return absl::OkStatus();
  }

 private:
  int64_t values_per_channel() const { return view_.items * view_.positions; }

  absl::Status ForwardFused(const float* x, const ForwardArgs& args) {
    std::copy_n(args.param[3].data(), view_.channels, scale_.begin());
    std::copy_n(args.param[4].data(), view_.channels, bias_.begin());
    MapChannels(view_, GradientMode::kWrite, args.top[0].data(),
                [x, mean = mean_.data(), inverse = inverse_.data(),
                 scale = scale_.data(),
                 bias = bias_.data()](int64_t i, int64_t c) {
                  return (x[i] - mean[c]) * inverse[c] * scale[c] + bias[c];
                });
    return absl::OkStatus();
  }

  absl::Status BackwardFused(const BackwardArgs& args) {
    const float* dy = args.top_gradient[0].data();
    const auto y = [x = args.bottom[0].data(), mean = mean_.data(),
                    inverse = inverse_.data()](int64_t i, int64_t c) {
      return (x[i] - mean[c]) * inverse[c];
    };
    SumChannels(view_, mean_dy_.data(),
                [=](int64_t i, int64_t) { return dy[i]; });
    SumChannels(view_, mean_dy_y_.data(), [=](int64_t i, int64_t c) {
      return double{dy[i]} * y(i, c);
    });
    const std::vector<float>* sums[] = {&mean_dy_y_, &mean_dy_};
    for (int i = 0; i < 2; ++i) {
      const GradientTensor& param = args.param_gradient[3 + i];
      Store(param.mode, param.tensor.data(), view_.channels,
            [from = sums[i]->data()](int64_t c) { return from[c]; });
    }
    if (use_global_stats()) {  // constants: nothing flows through them
      std::fill(mean_dy_.begin(), mean_dy_.end(), 0.0f);
      std::fill(mean_dy_y_.begin(), mean_dy_y_.end(), 0.0f);
    }
    Divide(&mean_dy_);
    Divide(&mean_dy_y_);
    std::copy_n(args.param[3].data(), view_.channels, scale_.begin());
    const GradientTensor& gradient = args.bottom_gradient[0];
    MapChannels(view_, gradient.mode, gradient.tensor.data(),
                [=, scale = scale_.data(), inverse = inverse_.data(),
                 a = mean_dy_.data(),
                 b = mean_dy_y_.data()](int64_t i, int64_t c) {
                  return (dy[i] - a[c] - b[c] * y(i, c)) * inverse[c] *
                         scale[c];
                });
    return absl::OkStatus();
  }

  void Divide(std::vector<float>* sums) const {
    const float count =
        static_cast<float>(std::max<int64_t>(values_per_channel(), 1));
    for (float& sum : *sums) sum /= count;
  }

  void LoadGlobal(absl::Span<const ConstTensor> param) {
    const float factor = param[2].data()[0];
    const float inverse = factor == 0 ? 0 : 1 / factor;
    for (int64_t c = 0; c < view_.channels; ++c) {
      mean_[c] = param[0].data()[c] * inverse;
      variance_[c] = param[1].data()[c] * inverse;
    }
  }

  void MeasureBatch(const float* x) {
    SumChannels(view_, mean_.data(), [=](int64_t i, int64_t) { return x[i]; });
    Divide(&mean_);
    const float* mean = mean_.data();
    SumChannels(view_, variance_.data(), [=](int64_t i, int64_t c) {
      const double d = double{x[i]} - mean[c];
      return d * d;
    });
    Divide(&variance_);
  }

  static void ContributeNothing(absl::Span<const GradientTensor> statistics) {
    for (int i = 0; i < 3; ++i) {
      Store(statistics[i].mode, statistics[i].tensor.data(),
            statistics[i].tensor.count(), [](int64_t) { return 0.0f; });
    }
  }

  void Contribute(absl::Span<const GradientTensor> statistics) const {
    const float m = static_cast<float>(values_per_channel());
    const float unbiased = m > 1 ? m / (m - 1) : 1;
    const float* mean = mean_.data();
    const float* variance = variance_.data();
    Store(statistics[0].mode, statistics[0].tensor.data(), view_.channels,
          [=](int64_t c) { return mean[c]; });
    Store(statistics[1].mode, statistics[1].tensor.data(), view_.channels,
          [=](int64_t c) { return unbiased * variance[c]; });
    Store(statistics[2].mode, statistics[2].tensor.data(), 1,
          [](int64_t) { return 1.0f; });
  }

  ChannelView view_;
  std::vector<float> mean_, variance_, inverse_, mean_dy_, mean_dy_y_;
  std::vector<float> scale_, bias_;  // fused
};

}  // namespace

absl::Status RegisterBatchNorm(LayerRegistry& registry) {
  return registry.Register("BatchNorm", DeviceType::kCpu,
                           MakeLayer<BatchNormLayerCpu>);
}

}  // namespace cssp::cpu
