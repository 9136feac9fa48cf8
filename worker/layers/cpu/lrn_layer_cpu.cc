#include "worker/layers/lrn_layer.h"

#include <algorithm>

#include "common/base/status_macros.h"
#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/cpu/onednn.h"

namespace cssp::cpu {
namespace {

using dnnl::memory;
using Forwards = dnnl::lrn_forward;
using Backwards = dnnl::lrn_backward;

// oneDNN's LRN, which in the blocked formats is some fifty times faster than in
// Caffe's: blocked formats are asked for even where the bottom is not.
class LrnLayerCpu final : public LrnLayer {
 public:
  using LrnLayer::LrnLayer;

  FormatChoice ChooseFormats(absl::Span<const TensorDesc> bottom,
                             absl::Span<const Shape> top) const override {
    Format format = bottom[0].format;
    if (format == Format::kCaffe) format = NativeBlocked();
    return {{format}, {format}};
  }

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    return Guard("LRN", [&] { BindPrimitives(bottom[0]); });
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    return Guard("LRN", [&] {
      forward_.Point(DNNL_ARG_SRC, args.bottom[0].raw);
      forward_.Point(DNNL_ARG_DST, args.top[0].raw);
      forward_.Run(dnnl_, step.scratch().data());
    });
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    if (gradient.mode == GradientMode::kNone) return absl::OkStatus();
    return Guard("LRN", [&] {
      float* target =
          WriteTarget(gradient, step.scratch().data() + primitive_scratch_);
      backward_.Point(DNNL_ARG_SRC, args.bottom[0].raw);
      backward_.Point(DNNL_ARG_DIFF_SRC, target);
      backward_.Point(DNNL_ARG_DIFF_DST, args.top_gradient[0].raw);
      backward_.Run(dnnl_, step.scratch().data());
      FinishTarget(gradient, target);
    });
  }

 private:
  void BindPrimitives(const TensorDesc& bottom) {
    const auto algorithm = across_channels()
                               ? dnnl::algorithm::lrn_across_channels
                               : dnnl::algorithm::lrn_within_channel;
    const memory::desc desc = Describe(bottom);
    const Forwards::primitive_desc pd(
        Forwards::desc(dnnl::prop_kind::forward_training, algorithm, desc,
                       local_size(), alpha(), beta(), k()),
        UserScratchpad(), dnnl_.engine);
    const Backwards::primitive_desc back(
        Backwards::desc(algorithm, desc, desc, local_size(), alpha(), beta(),
                        k()),
        UserScratchpad(), dnnl_.engine, pd);
    forward_.Init(dnnl_, Forwards(pd), pd.scratchpad_desc());
    forward_.Arg(DNNL_ARG_SRC, desc);
    forward_.Arg(DNNL_ARG_DST, desc);
    backward_.Init(dnnl_, Backwards(back), back.scratchpad_desc());
    backward_.Arg(DNNL_ARG_SRC, desc);
    backward_.Arg(DNNL_ARG_DIFF_SRC, desc);
    backward_.Arg(DNNL_ARG_DIFF_DST, desc);
    if (pd.workspace_desc().get_size() > 0) {
      workspace_ = memory(pd.workspace_desc(), dnnl_.engine);
      forward_.Arg(DNNL_ARG_WORKSPACE, workspace_);
      backward_.Arg(DNNL_ARG_WORKSPACE, workspace_);
    }
    primitive_scratch_ = Align64(
        std::max(forward_.scratch_bytes(), backward_.scratch_bytes()));
    scratch_bytes_ = primitive_scratch_ + bottom.bytes();
  }

  OneDnn dnnl_;
  BoundPrimitive forward_, backward_;
  memory workspace_;
  size_t primitive_scratch_ = 0;
};

}  // namespace

absl::Status RegisterLrn(LayerRegistry& registry) {
  return registry.Register("LRN", DeviceType::kCpu, MakeLayer<LrnLayerCpu>);
}

}  // namespace cssp::cpu
