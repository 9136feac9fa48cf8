#include "worker/layers/scale_layer.h"

#include <algorithm>
#include <vector>

#include "common/base/status_macros.h"
#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"

namespace cssp::cpu {
namespace {

// Thread-confined: the training thread.
class ScaleLayerCpu final : public ScaleLayer {
 public:
  using ScaleLayer::ScaleLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    std::vector<Shape> shapes;
    for (const TensorDesc& desc : bottom) shapes.push_back(desc.shape);
    ASSIGN_OR_RETURN(const Extents e, ExtentsOf(shapes));
    view_ = ChannelView{.items = e.outer,
                        .channels = e.count,
                        .positions = e.inner,
                        .lanes = BlockOf(bottom[0].format)};
    view_.blocks = (view_.channels + view_.lanes - 1) / view_.lanes;
    const int64_t padded = view_.blocks * view_.lanes;
    scale_values_.assign(padded, 0.0f);
    bias_values_.assign(padded, 0.0f);
    sums_.assign(padded, 0.0f);
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    Load(scale(), args.bottom, args.param, &scale_values_, 1);
    Load(bias(), args.bottom, args.param, &bias_values_, 0);
    const float* x = args.bottom[0].data();
    const float* s = scale_values_.data();
    const float* b = bias_values_.data();
    MapChannels(view_, GradientMode::kWrite, args.top[0].data(),
                [=](int64_t i, int64_t c) { return x[i] * s[c] + b[c]; });
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const float* dy = args.top_gradient[0].data();
    const float* x = args.bottom[0].data();
    // The sums first: the bottom's gradient may overwrite the top's.
    if (const GradientTensor* gradient = GradientOf(scale(), args)) {
      SumChannels(view_, sums_.data(), [=](int64_t i, int64_t) {
        return double{dy[i]} * x[i];
      });
      StoreSums(*gradient);
    }
    if (const GradientTensor* gradient = GradientOf(bias(), args)) {
      SumChannels(view_, sums_.data(),
                  [=](int64_t i, int64_t) { return dy[i]; });
      StoreSums(*gradient);
    }
    Load(scale(), args.bottom, args.param, &scale_values_, 1);
    const float* s = scale_values_.data();
    const GradientTensor& bottom = args.bottom_gradient[0];
    MapChannels(view_, bottom.mode, bottom.tensor.data(),
                [=](int64_t i, int64_t c) { return dy[i] * s[c]; });
    return absl::OkStatus();
  }

 private:
  // The operand's values with zeros in the padding lanes.
  void Load(const Operand& operand, absl::Span<const ConstTensor> bottom,
            absl::Span<const ConstTensor> param, std::vector<float>* values,
            float fallback) const {
    if (operand.from == Operand::kNone) {
      std::fill_n(values->begin(), view_.channels, fallback);
      return;
    }
    const ConstTensor& from = operand.from == Operand::kParam
                                  ? param[operand.index]
                                  : bottom[operand.index];
    std::copy_n(from.data(), view_.channels, values->begin());
  }

  static const GradientTensor* GradientOf(const Operand& operand,
                                          const BackwardArgs& args) {
    if (operand.from == Operand::kNone) return nullptr;
    const GradientTensor& gradient = operand.from == Operand::kParam
                                         ? args.param_gradient[operand.index]
                                         : args.bottom_gradient[operand.index];
    return gradient.mode == GradientMode::kNone ? nullptr : &gradient;
  }

  void StoreSums(const GradientTensor& gradient) const {
    const float* sums = sums_.data();
    Store(gradient.mode, gradient.tensor.data(), view_.channels,
          [=](int64_t c) { return sums[c]; });
  }

  ChannelView view_;
  std::vector<float> scale_values_, bias_values_, sums_;
};

}  // namespace

absl::Status RegisterScale(LayerRegistry& registry) {
  RETURN_IF_ERROR(
      registry.Register("Scale", DeviceType::kCpu, MakeLayer<ScaleLayerCpu>));
  return registry.Register("Bias", DeviceType::kCpu, MakeLayer<ScaleLayerCpu>);
}

}  // namespace cssp::cpu
