#include <vector>

#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/cuda/reduce.cuh"
#include "worker/layers/scale_layer.h"

namespace cssp::cuda {
namespace {

// Thread-confined: the training thread.
class ScaleLayerCuda final : public CudaLayer<ScaleLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    std::vector<Shape> shapes;
    for (const TensorDesc& desc : bottom) shapes.push_back(desc.shape);
    ASSIGN_OR_RETURN(const Extents e, ExtentsOf(shapes));
    view_ = {e.outer, e.count, e.inner};
    set_scratch_bytes(ChannelSumPlan(view_).scratch_bytes());
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* x = args.bottom[0].data();
    const float* s = Values(scale(), args.bottom, args.param);
    const float* b = Values(bias(), args.bottom, args.param);
    const ChannelView view = view_;
    return Fill(step.stream(), args.top[0].data(), view.count(),
                [=] __device__(int64_t i) {
                  const int64_t c = view.Channel(i);
                  return x[i] * (s == nullptr ? 1.0f : s[c]) +
                         (b == nullptr ? 0.0f : b[c]);
                });
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const float* dy = args.top_gradient[0].data();
    const Slot ds = OperandSlot(scale(), args), db = OperandSlot(bias(), args);
    // The sums first: the bottom's gradient may overwrite the top's.
    if (ds.out != nullptr || db.out != nullptr) {
      const float* x = ds.out == nullptr ? nullptr : args.bottom[0].data();
      RETURN_IF_ERROR(SumChannels<SumPair>(
          step.stream(), view_, step.scratch().data(),
          [=] __device__(int64_t i, int64_t) {
            return SumPair{x == nullptr ? 0.0 : double{dy[i]} * x[i], dy[i]};
          },
          [=] __device__(int64_t c, SumPair sum) {
            ds.Put(c, static_cast<float>(sum.a));
            db.Put(c, static_cast<float>(sum.b));
          }));
    }
    const GradientTensor& bottom = args.bottom_gradient[0];
    const float* s = Values(scale(), args.bottom, args.param);
    const ChannelView view = view_;
    return Store(step.stream(), bottom.mode, bottom.tensor.data(), view.count(),
                 [=] __device__(int64_t i) {
                   return s == nullptr ? dy[i] : dy[i] * s[view.Channel(i)];
                 });
  }

 private:
  // Null where the operand is not there.
  static const float* Values(const Operand& operand,
                             absl::Span<const ConstTensor> bottom,
                             absl::Span<const ConstTensor> param) {
    if (operand.from == Operand::kNone) return nullptr;
    return operand.from == Operand::kParam ? param[operand.index].data()
                                           : bottom[operand.index].data();
  }

  static Slot OperandSlot(const Operand& operand, const BackwardArgs& args) {
    if (operand.from == Operand::kNone) return {};
    const GradientTensor& gradient = operand.from == Operand::kParam
                                         ? args.param_gradient[operand.index]
                                         : args.bottom_gradient[operand.index];
    return Slot::Of(gradient);
  }

  ChannelView view_;
};

}  // namespace

absl::Status RegisterScale(LayerRegistry& registry) {
  RETURN_IF_ERROR(registry.Register("Scale", DeviceType::kCuda,
                                    MakeCudaLayer<ScaleLayerCuda>));
  return registry.Register("Bias", DeviceType::kCuda,
                           MakeCudaLayer<ScaleLayerCuda>);
}

}  // namespace cssp::cuda
