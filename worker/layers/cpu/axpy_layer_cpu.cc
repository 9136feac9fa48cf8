#include "worker/layers/axpy_layer.h"
#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"

namespace cssp::cpu {
namespace {

// Thread-confined: the training thread.
class AxpyLayerCpu final : public AxpyLayer {
 public:
  using AxpyLayer::AxpyLayer;

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* a = args.bottom[0].data();
    const float* x = args.bottom[1].data();
    const float* y = args.bottom[2].data();
    const int64_t positions = args.bottom[1].shape().count_from(2);
    Fill(args.top[0].data(), args.top[0].count(),
         [=](int64_t i) { return a[i / positions] * x[i] + y[i]; });
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const float* a = args.bottom[0].data();
    const float* x = args.bottom[1].data();
    const float* d = args.top_gradient[0].data();
    const int64_t positions = args.bottom[1].shape().count_from(2);
    const int64_t count = args.bottom[1].count();
    const auto gradient = [&](int i) -> const GradientTensor& {
      return args.bottom_gradient[i];
    };
    Store(gradient(0).mode, gradient(0).tensor.data(), args.bottom[0].count(),
          [=](int64_t plane) {
            double sum = 0;
            for (int64_t i = plane * positions; i < (plane + 1) * positions;
                 ++i) {
              sum += double{d[i]} * x[i];
            }
            return static_cast<float>(sum);
          });
    Store(gradient(1).mode, gradient(1).tensor.data(), count,
          [=](int64_t i) { return a[i / positions] * d[i]; });
    Store(gradient(2).mode, gradient(2).tensor.data(), count,
          [=](int64_t i) { return d[i]; });
    return absl::OkStatus();
  }
};

}  // namespace

absl::Status RegisterAxpy(LayerRegistry& registry) {
  return registry.Register("Axpy", DeviceType::kCpu, MakeLayer<AxpyLayerCpu>);
}

}  // namespace cssp::cpu
