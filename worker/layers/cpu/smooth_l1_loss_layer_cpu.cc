#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/smooth_l1_loss_layer.h"

namespace cssp::cpu {
namespace {

// Thread-confined: the training thread.
class SmoothL1LossLayerCpu final : public SmoothL1LossLayer {
 public:
  using SmoothL1LossLayer::SmoothL1LossLayer;

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const Operands in(args.bottom);
    const SmoothL1 f = function();
    double sum = 0;
    for (int64_t i = 0; i < args.bottom[0].count(); ++i) {
      sum += double{in.Outside(i)} * f.Value(in.Difference(i));
    }
    args.top[0].data()[0] =
        static_cast<float>(sum / args.bottom[0].shape().dim(0));
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const Operands in(args.bottom);
    const SmoothL1 f = function();
    const float weight = args.top_gradient[0].data()[0] /
                         static_cast<float>(args.bottom[0].shape().dim(0));
    for (int side = 0; side < 2; ++side) {
      const GradientTensor& gradient = args.bottom_gradient[side];
      const float sign = side == 0 ? weight : -weight;
      Store(gradient.mode, gradient.tensor.data(), args.bottom[0].count(),
            [=](int64_t i) {
              return sign * in.Outside(i) * in.Inside(i) *
                     f.Slope(in.Difference(i));
            });
    }
    return absl::OkStatus();
  }

 private:
  struct Operands {
    explicit Operands(absl::Span<const ConstTensor> bottom)
        : a(bottom[0].data()),
          b(bottom[1].data()),
          inside(bottom.size() > 2 ? bottom[2].data() : nullptr),
          outside(bottom.size() > 3 ? bottom[3].data() : nullptr) {}
    float Inside(int64_t i) const { return inside ? inside[i] : 1; }
    float Outside(int64_t i) const { return outside ? outside[i] : 1; }
    float Difference(int64_t i) const { return Inside(i) * (a[i] - b[i]); }
    const float *a, *b, *inside, *outside;
  };
};

}  // namespace

absl::Status RegisterSmoothL1Loss(LayerRegistry& registry) {
  return registry.Register("SmoothL1Loss", DeviceType::kCpu,
                           MakeLayer<SmoothL1LossLayerCpu>);
}

}  // namespace cssp::cpu
