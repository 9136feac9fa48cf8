#include "worker/layers/convolution_layer.h"

#include <memory>

#include "common/base/status_macros.h"
#include "worker/layers/cpu/convolution_kernel.h"
#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/cpu/onednn.h"

namespace cssp::cpu {
namespace {

// Thread-confined: the training thread.
class ConvolutionLayerCpu final : public ConvolutionLayer {
 public:
  using ConvolutionLayer::ConvolutionLayer;

  FormatChoice ChooseFormats(absl::Span<const TensorDesc> bottom,
                             absl::Span<const Shape> top) const override {
    const ConvolutionFormats formats =
        PreferredFormats(Problem(bottom[0].shape, top[0]));
    FormatChoice choice;
    choice.bottom.assign(bottom.size(), formats.x);
    choice.top.assign(top.size(), formats.y);
    return choice;
  }

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    ASSIGN_OR_RETURN(
        kernel_, MakeConvolutionKernel(Problem(bottom[0].shape, top[0].shape),
                                       {bottom[0].format, top[0].format}));
    temporary_ = Align64(kernel_->scratch_bytes());
    // Behind it: a bottom gradient that is to be added to what is there.
    scratch_bytes_ = temporary_ + bottom[0].bytes();
    return absl::OkStatus();
  }

  void ParamsChanged() override {
    if (kernel_ != nullptr) kernel_->WeightsChanged();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    return Guard("convolution", [&] {
      for (size_t i = 0; i < args.bottom.size(); ++i) {
        kernel_->Forward(args.bottom[i].data(), args.param[0].data(),
                         bias() ? args.param[1].data() : nullptr,
                         args.top[i].data(), step.scratch().data());
      }
    });
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    return Guard("convolution", [&] {
      bool first = true;
      for (size_t i = 0; i < args.bottom.size(); ++i) {
        if (args.top_gradient[i].raw == nullptr) continue;
        kernel_->BackwardWeights(
            args.bottom[i].data(), args.top_gradient[i].data(),
            ForBottom(args.param_gradient[0], first),
            bias() ? ForBottom(args.param_gradient[1], first)
                   : GradientTensor{},
            step.scratch().data());
        BottomGradient(args, i, step.scratch().data());
        first = false;
      }
    });
  }

 private:
  ConvolutionProblem Problem(const Shape& bottom, const Shape& top) const {
    ConvolutionProblem problem =
        ConvolutionProblem::Of(geometry(), bottom, top, group());
    problem.bias = bias();
    problem.by_definition = layer_param().convolution_param().engine() ==
                            caffe::ConvolutionParameter::CAFFE;
    return problem;
  }

  void BottomGradient(const BackwardArgs& args, int i, uint8_t* scratch) {
    const GradientTensor& gradient = args.bottom_gradient[i];
    if (gradient.mode == GradientMode::kNone) return;
    float* target = WriteTarget(gradient, scratch + temporary_);
    kernel_->BackwardData(args.top_gradient[i].data(), args.param[0].data(),
                          target, scratch);
    FinishTarget(gradient, target);
  }

  std::unique_ptr<ConvolutionKernel> kernel_;
  size_t temporary_ = 0;  // where it begins in scratch
};

}  // namespace

absl::Status RegisterConvolution(LayerRegistry& registry) {
  for (const char* type :
       {"Convolution", "DepthwiseConvolution", "ConvolutionDepthwise"}) {
    RETURN_IF_ERROR(registry.Register(type, DeviceType::kCpu,
                                      MakeLayer<ConvolutionLayerCpu>));
  }
  return absl::OkStatus();
}

}  // namespace cssp::cpu
