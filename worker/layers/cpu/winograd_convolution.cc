#include <memory>
#include <utility>
#include <vector>

#include "worker/layers/cpu/convolution_kernel.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/cpu/winograd.h"

namespace cssp::cpu {
namespace {

// Thread-confined: the training thread.
class WinogradConvolution final : public ConvolutionKernel {
 public:
  WinogradConvolution(const WinogradShape& shape, bool bias)
      : winograd_(shape), has_bias_(bias), bias_sums_(shape.outputs) {}

  size_t scratch_bytes() const override { return winograd_.scratch_bytes(); }
  void WeightsChanged() override { stale_ = stale_backward_ = true; }

  void Forward(const float* x, const float* weight, const float* bias, float* y,
               void* scratch) override {
    if (std::exchange(stale_, false)) winograd_.PackForward(weight);
    winograd_.Forward(x, has_bias_ ? bias : nullptr, y, scratch);
  }

  void BackwardData(const float* dy, const float* weight, float* dx,
                    void* scratch) override {
    if (std::exchange(stale_backward_, false)) winograd_.PackBackward(weight);
    winograd_.BackwardData(dy, dx, scratch);
  }

  void BackwardWeights(const float* x, const float* dy,
                       const GradientTensor& weight, const GradientTensor& bias,
                       void* scratch) override {
    if (weight.mode != GradientMode::kNone)
      winograd_.BackwardWeights(x, dy, weight.mode == GradientMode::kAdd,
                                weight.tensor.data(), scratch);
    if (!has_bias_ || bias.mode == GradientMode::kNone) return;
    winograd_.BackwardBias(dy, bias_sums_.data());
    const float* sums = bias_sums_.data();
    Store(bias.mode, bias.tensor.data(), bias_sums_.size(),
          [=](int64_t o) { return sums[o]; });
  }

 private:
  Winograd winograd_;
  const bool has_bias_;
  std::vector<float> bias_sums_;
  bool stale_ = true, stale_backward_ = true;
};

bool AllOnes(const ConvolutionProblem::Extents& extents) {
  for (int64_t extent : extents)
    if (extent != 1) return false;
  return true;
}

}  // namespace

// Few channels leave too little to multiply for what the transforms cost.
std::unique_ptr<ConvolutionKernel> MakeWinogradConvolution(
    const ConvolutionProblem& p, const ConvolutionFormats& formats) {
  constexpr int64_t kChannels = 16, kProducts = 512;
  if (p.by_definition || !p.blockable || p.kernel.size() != 2 ||
      formats.x != Format::kBlocked16 || formats.y != Format::kBlocked16 ||
      p.kernel[0] != p.kernel[1] || !AllOnes(p.stride) || !AllOnes(p.dilation))
    return nullptr;
  const WinogradShape shape{.items = p.items,
                            .channels = p.x_channels,
                            .outputs = p.y_channels,
                            .group = p.group,
                            .kernel = p.kernel[0],
                            .in = {p.x[0], p.x[1]},
                            .pad = {p.pad[0], p.pad[1]}};
  const int64_t in = p.x_channels / p.group, out = p.y_channels / p.group;
  if (in < kChannels || out < kChannels || in * out < kProducts ||
      !Winograd::Supports(shape))
    return nullptr;
  return std::make_unique<WinogradConvolution>(shape, p.bias);
}

}  // namespace cssp::cpu
