#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/neuron_functions.h"
#include "worker/layers/neuron_layer.h"

namespace cssp::cuda {

// Not in an unnamed namespace: kernels are templates on its lambdas.
// Thread-confined: the training thread.
template <class Function>
class NeuronLayerCuda final : public NeuronLayer {
 public:
  using NeuronLayer::NeuronLayer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override {
    return function_.Read(layer_param());
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* x = args.bottom[0].data();
    const Function f = function_;
    return Fill(step.stream(), args.top[0].data(), args.top[0].count(),
                [=] __device__(int64_t i) { return f.Value(x[i]); });
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    if (gradient.mode == GradientMode::kNone) return absl::OkStatus();
    const Function f = function_;
    const NeuronTraits reads = f.traits();
    // Data that the function does not read may be null: read dy in its place.
    const float* dy = args.top_gradient[0].data();
    const float* x = reads.reads_bottom ? args.bottom[0].data() : dy;
    const float* y = reads.reads_top ? args.top[0].data() : dy;
    return Store(step.stream(), gradient.mode, gradient.tensor.data(),
                 gradient.tensor.count(), [=] __device__(int64_t i) {
                   return dy[i] * f.Slope(x[i], y[i]);
                 });
  }

 protected:
  NeuronTraits neuron_traits() const override { return function_.traits(); }

 private:
  Function function_;
};

namespace {

template <class Function>
absl::Status RegisterNeuron(LayerRegistry& registry, const char* type) {
  return registry.Register(type, DeviceType::kCuda,
                           MakeLayer<NeuronLayerCuda<Function>>);
}

}  // namespace

absl::Status RegisterNeurons(LayerRegistry& registry) {
  RETURN_IF_ERROR(RegisterNeuron<ReluFunction>(registry, "ReLU"));
  RETURN_IF_ERROR(RegisterNeuron<Relu6Function>(registry, "ReLU6"));
  RETURN_IF_ERROR(RegisterNeuron<TanhFunction>(registry, "TanH"));
  RETURN_IF_ERROR(RegisterNeuron<SigmoidFunction>(registry, "Sigmoid"));
  RETURN_IF_ERROR(RegisterNeuron<AbsFunction>(registry, "AbsVal"));
  RETURN_IF_ERROR(RegisterNeuron<PowerFunction>(registry, "Power"));
  RETURN_IF_ERROR(RegisterNeuron<ExpFunction>(registry, "Exp"));
  RETURN_IF_ERROR(RegisterNeuron<LogFunction>(registry, "Log"));
  RETURN_IF_ERROR(RegisterNeuron<BnllFunction>(registry, "BNLL"));
  RETURN_IF_ERROR(RegisterNeuron<EluFunction>(registry, "ELU"));
  RETURN_IF_ERROR(RegisterNeuron<SwishFunction>(registry, "Swish"));
  RETURN_IF_ERROR(RegisterNeuron<ClipFunction>(registry, "Clip"));
  return RegisterNeuron<ThresholdFunction>(registry, "Threshold");
}

}  // namespace cssp::cuda
