#include "worker/layers/deconvolution_layer.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "common/base/status_macros.h"
#include "worker/layers/cpu/convolution_kernel.h"
#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/cpu/onednn.h"

namespace cssp::cpu {
namespace {

// The convolution that leads from top to bottom, run backwards; the bias is
// added here.  Thread-confined: the training thread.
class DeconvolutionLayerCpu final : public DeconvolutionLayer {
 public:
  using DeconvolutionLayer::DeconvolutionLayer;

  FormatChoice ChooseFormats(absl::Span<const TensorDesc> bottom,
                             absl::Span<const Shape> top) const override {
    const ConvolutionFormats formats =
        PreferredFormats(Problem(bottom[0].shape, top[0]));
    FormatChoice choice;
    choice.bottom.assign(bottom.size(), formats.y);
    choice.top.assign(top.size(), formats.x);
    return choice;
  }

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    ASSIGN_OR_RETURN(
        kernel_, MakeConvolutionKernel(Problem(bottom[0].shape, top[0].shape),
                                       {top[0].format, bottom[0].format}));
    temporary_ = Align64(kernel_->scratch_bytes());
    // Behind it: a bottom gradient that is to be added to what is there.
    scratch_bytes_ = temporary_ + bottom[0].bytes();
    view_ = ChannelView::Of(top[0], geometry().channel_axis);
    // Zeros where lanes hold no channel.
    bias_.assign(view_.blocks * view_.lanes, 0.0f);
    sums_ = bias_;
    return absl::OkStatus();
  }

  void ParamsChanged() override {
    if (kernel_ != nullptr) kernel_->WeightsChanged();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    if (bias()) {
      std::copy_n(args.param[1].data(), num_output(), bias_.begin());
    }
    return Guard("deconvolution", [&] {
      for (size_t i = 0; i < args.bottom.size(); ++i) {
        kernel_->BackwardData(args.bottom[i].data(), args.param[0].data(),
                              args.top[i].data(), step.scratch().data());
        if (!bias()) continue;
        const float* b = bias_.data();
        MapChannels(view_, GradientMode::kAdd, args.top[i].data(),
                    [=](int64_t, int64_t channel) { return b[channel]; });
      }
    });
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    return Guard("deconvolution", [&] {
      bool first = true;
      for (size_t i = 0; i < args.bottom.size(); ++i) {
        if (args.top_gradient[i].raw == nullptr) continue;
        const float* dy = args.top_gradient[i].data();
        const GradientTensor weight = ForBottom(args.param_gradient[0], first);
        if (weight.mode != GradientMode::kNone) {
          kernel_->BackwardWeights(dy, args.bottom[i].data(), weight, {},
                                   step.scratch().data());
        }
        if (bias()) BiasGradient(dy, ForBottom(args.param_gradient[1], first));
        BottomGradient(args, i, step.scratch().data());
        first = false;
      }
    });
  }

 private:
  ConvolutionProblem Problem(const Shape& bottom, const Shape& top) const {
    ConvolutionProblem problem =
        ConvolutionProblem::Of(geometry(), top, bottom, group());
    problem.deconvolution = true;
    return problem;
  }

  void BiasGradient(const float* dy, const GradientTensor& bias) {
    if (bias.mode == GradientMode::kNone) return;
    float* sums = sums_.data();
    SumChannels(view_, sums, [=](int64_t i, int64_t) { return dy[i]; });
    Store(bias.mode, bias.tensor.data(), num_output(),
          [=](int64_t o) { return sums[o]; });
  }

  void BottomGradient(const BackwardArgs& args, int i, uint8_t* scratch) {
    const GradientTensor& gradient = args.bottom_gradient[i];
    if (gradient.mode == GradientMode::kNone) return;
    float* target = WriteTarget(gradient, scratch + temporary_);
    kernel_->Forward(args.top_gradient[i].data(), args.param[0].data(), nullptr,
                     target, scratch);
    FinishTarget(gradient, target);
  }

  std::unique_ptr<ConvolutionKernel> kernel_;
  size_t temporary_ = 0;  // where it begins in scratch
  ChannelView view_;      // of the top
  std::vector<float> bias_, sums_;
};

}  // namespace

absl::Status RegisterDeconvolution(LayerRegistry& registry) {
  return registry.Register("Deconvolution", DeviceType::kCpu,
                           MakeLayer<DeconvolutionLayerCpu>);
}

}  // namespace cssp::cpu
