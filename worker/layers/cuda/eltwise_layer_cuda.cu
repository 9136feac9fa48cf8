#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/eltwise_layer.h"

namespace cssp::cuda {
namespace {

using caffe::EltwiseParameter;

// Travels to a kernel by value.
struct Inputs {
  static constexpr int kMost = 64;
  const float* data[kMost];
  float weight[kMost];
  int count;
};

// Thread-confined: the training thread.
class EltwiseLayerCuda final : public CudaLayer<EltwiseLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    if (bottom.size() > Inputs::kMost) {
      return absl::UnimplementedError(
          absl::StrCat("Eltwise takes at most ", Inputs::kMost,
                       " bottoms on a GPU, got ", bottom.size()));
    }
    count_ = top[0].shape.count();
    if (operation() != EltwiseParameter::MAX) return absl::OkStatus();
    return Allocate(count_ * sizeof(int32_t), &winner_);
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const Inputs in = Gather(args.bottom);
    float* y = args.top[0].data();
    Stream& stream = step.stream();
    if (operation() == EltwiseParameter::SUM) {
      return Fill(stream, y, count_, [=] __device__(int64_t i) {
        float sum = in.weight[0] * in.data[0][i];
        for (int b = 1; b < in.count; ++b) sum += in.weight[b] * in.data[b][i];
        return sum;
      });
    }
    if (operation() == EltwiseParameter::PROD) {
      return Fill(stream, y, count_, [=] __device__(int64_t i) {
        float product = in.data[0][i];
        for (int b = 1; b < in.count; ++b) product *= in.data[b][i];
        return product;
      });
    }
    int32_t* winner = static_cast<int32_t*>(winner_.data());
    return Fill(stream, y, count_, [=] __device__(int64_t i) {
      float best = in.data[0][i];
      int32_t from = 0;
      for (int b = 1; b < in.count; ++b) {
        const float x = in.data[b][i];
        if (b == 1 ? best > x : !(x > best)) continue;  // ties: as Caffe's
        best = x;
        from = b;
      }
      winner[i] = from;
      return best;
    });
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    for (int b = 0; b < static_cast<int>(args.bottom_gradient.size()); ++b) {
      if (args.bottom_gradient[b].mode == GradientMode::kNone) continue;
      RETURN_IF_ERROR(operation() == EltwiseParameter::PROD
                          ? BackwardProduct(step, args, b)
                          : BackwardLinear(step, args, b));
    }
    return absl::OkStatus();
  }

  // Public only since device lambdas may not stand in private functions.
  absl::Status BackwardLinear(StepContext& step, const BackwardArgs& args,
                              int b) {
    const GradientTensor& gradient = args.bottom_gradient[b];
    const float* dy = args.top_gradient[0].data();
    const float weight = coefficients()[b];
    // Null unless MAX.
    const int32_t* winner = static_cast<const int32_t*>(winner_.data());
    return Store(step.stream(), gradient.mode, gradient.tensor.data(), count_,
                 [=] __device__(int64_t i) {
                   if (winner == nullptr) return weight * dy[i];
                   return winner[i] == b ? dy[i] : 0.0f;
                 });
  }

  absl::Status BackwardProduct(StepContext& step, const BackwardArgs& args,
                               int b) {
    const GradientTensor& gradient = args.bottom_gradient[b];
    const float* dy = args.top_gradient[0].data();
    if (!stable_product()) {
      const float* x = args.bottom[b].data();
      const float* y = args.top[0].data();
      return Store(step.stream(), gradient.mode, gradient.tensor.data(), count_,
                   [=] __device__(int64_t i) {
                     return dy[i] == 0 ? 0.0f : dy[i] * (y[i] / x[i]);
                   });
    }
    const Inputs in = Gather(args.bottom);
    return Store(step.stream(), gradient.mode, gradient.tensor.data(), count_,
                 [=] __device__(int64_t i) {
                   float product = dy[i];
                   for (int o = 0; o < in.count; ++o) {
                     if (o != b) product *= in.data[o][i];
                   }
                   return product;
                 });
  }

 private:
  Inputs Gather(absl::Span<const ConstTensor> bottom) const {
    Inputs in;
    in.count = static_cast<int>(bottom.size());
    for (int b = 0; b < in.count; ++b) {
      in.data[b] = bottom[b].data();
      in.weight[b] = coefficients()[b];
    }
    return in;
  }

  int64_t count_ = 0;
  Buffer winner_;  // MAX: the bottom that gave the top, int32
};

}  // namespace

absl::Status RegisterEltwise(LayerRegistry& registry) {
  return registry.Register("Eltwise", DeviceType::kCuda,
                           MakeCudaLayer<EltwiseLayerCuda>);
}

}  // namespace cssp::cuda
