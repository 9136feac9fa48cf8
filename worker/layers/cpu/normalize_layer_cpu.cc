#include <algorithm>
#include <cmath>
#include <vector>

#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/normalize_layer.h"

namespace cssp::cpu {
namespace {

// Keeps 1 / norm from Forward to Backward.
// Thread-confined: the training thread.
class NormalizeLayerCpu final : public NormalizeLayer {
 public:
  using NormalizeLayer::NormalizeLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    view_ = ChannelView::Of(bottom[0], 1);
    groups_ = across_spatial() ? 1 : view_.positions;
    sums_.assign(view_.items * groups_, 0.0);
    inverse_.assign(view_.items * groups_, 0.0f);
    along_.assign(view_.items * groups_, 0.0f);
    scale_.assign(view_.channels, 1.0f);
    scale_sums_.assign(view_.channels, 0.0f);
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* x = args.bottom[0].data();
    SumGroups([=](int64_t i, int64_t) { return double{x[i]} * x[i]; });
    for (size_t g = 0; g < sums_.size(); ++g) {
      inverse_[g] = static_cast<float>(1 / std::sqrt(sums_[g] + eps()));
    }
    LoadScale(args.param[0]);
    const float* scale = scale_.data();
    MapChannels(view_, GradientMode::kWrite, args.top[0].data(),
                [=, this](int64_t i, int64_t c) {
                  return x[i] * inverse_[GroupOf(i)] * scale[c];
                });
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const float* x = args.bottom[0].data();
    const float* dy = args.top_gradient[0].data();
    ScaleGradient(x, dy, args.param_gradient[0]);
    const GradientTensor& gradient = args.bottom_gradient[0];
    if (gradient.mode == GradientMode::kNone) return absl::OkStatus();
    LoadScale(args.param[0]);
    const float* scale = scale_.data();
    SumGroups(
        [=](int64_t i, int64_t c) { return double{dy[i]} * scale[c] * x[i]; });
    for (size_t g = 0; g < sums_.size(); ++g) {
      along_[g] =
          static_cast<float>(sums_[g] * double{inverse_[g]} * inverse_[g]);
    }
    MapChannels(view_, gradient.mode, gradient.tensor.data(),
                [=, this](int64_t i, int64_t c) {
                  const int64_t g = GroupOf(i);
                  return (dy[i] * scale[c] - x[i] * along_[g]) * inverse_[g];
                });
    return absl::OkStatus();
  }

 private:
  // Elements with one norm.
  int64_t GroupOf(int64_t i) const {
    const int64_t item = i / (view_.channels * view_.positions);
    return groups_ == 1 ? item : item * groups_ + i % view_.positions;
  }

  // sums_[g] = sum over the group of value(i, c).
  template <class Value>
  void SumGroups(Value value) {
    const int64_t size = view_.channels * view_.positions;
#pragma omp parallel for schedule(static) if (view_.items * size >= \
                                              kParallelElements)
    for (int64_t n = 0; n < view_.items; ++n) {
      double* sums = sums_.data() + n * groups_;
      std::fill_n(sums, groups_, 0.0);
      for (int64_t i = 0; i < size; ++i) {
        sums[groups_ == 1 ? 0 : i % view_.positions] +=
            value(n * size + i, i / view_.positions);
      }
    }
  }

  void LoadScale(const ConstTensor& param) {
    if (channel_shared()) {
      std::fill(scale_.begin(), scale_.end(), param.data()[0]);
    } else {
      std::copy_n(param.data(), view_.channels, scale_.begin());
    }
  }

  void ScaleGradient(const float* x, const float* dy,
                     const GradientTensor& gradient) {
    if (gradient.mode == GradientMode::kNone) return;
    SumChannels(view_, scale_sums_.data(), [=, this](int64_t i, int64_t) {
      return double{dy[i]} * x[i] * inverse_[GroupOf(i)];
    });
    const float* sums = scale_sums_.data();
    if (!channel_shared()) {
      Store(gradient.mode, gradient.tensor.data(), view_.channels,
            [=](int64_t c) { return sums[c]; });
      return;
    }
    double total = 0;
    for (float sum : scale_sums_) total += sum;
    Store(gradient.mode, gradient.tensor.data(), 1,
          [=](int64_t) { return static_cast<float>(total); });
  }

  ChannelView view_;
  int64_t groups_ = 1;  // norms of an item
  std::vector<double> sums_;
  std::vector<float> inverse_, along_, scale_, scale_sums_;
};

}  // namespace

absl::Status RegisterNormalize(LayerRegistry& registry) {
  return registry.Register("Normalize", DeviceType::kCpu,
                           MakeLayer<NormalizeLayerCpu>);
}

}  // namespace cssp::cpu
