#include <algorithm>
#include <utility>
#include <vector>

#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/eltwise_layer.h"

namespace cssp::cuda {
namespace {

using caffe::EltwiseParameter;

// The bottoms; travels to a kernel by value, but for those beyond the first few.
struct Inputs {
  static constexpr int kNear = 8;
  const float* near[kNear];
  float near_weight[kNear];
  const float* const* far;  // all of them, in device memory
  const float* far_weight;
  int count;

  __device__ float At(int b, int64_t i) const {
    return (b < kNear ? near[b] : far[b])[i];
  }
  __device__ float Weight(int b) const {
    return b < kNear ? near_weight[b] : far_weight[b];
  }
};

// Thread-confined: the training thread.
class EltwiseLayerCuda final : public CudaLayer<EltwiseLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    count_ = top[0].shape.count();
    addresses_.clear();
    if (bottom.size() > Inputs::kNear) {
      RETURN_IF_ERROR(Allocate(bottom.size() * sizeof(float*), &far_));
      RETURN_IF_ERROR(AllocateWith(coefficients(), &far_weight_));
    }
    if (operation() != EltwiseParameter::MAX) return absl::OkStatus();
    return Allocate(count_ * sizeof(int32_t), &winner_);
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    ASSIGN_OR_RETURN(const Inputs in, Gather(step, args.bottom));
    float* y = args.top[0].data();
    Stream& stream = step.stream();
    if (operation() == EltwiseParameter::SUM) {
      return Fill(stream, y, count_, [=] __device__(int64_t i) {
        float sum = in.Weight(0) * in.At(0, i);
        for (int b = 1; b < in.count; ++b) sum += in.Weight(b) * in.At(b, i);
        return sum;
      });
    }
    if (operation() == EltwiseParameter::PROD) {
      return Fill(stream, y, count_, [=] __device__(int64_t i) {
        float product = in.At(0, i);
        for (int b = 1; b < in.count; ++b) product *= in.At(b, i);
        return product;
      });
    }
    int32_t* winner = static_cast<int32_t*>(winner_.data());
    return Fill(stream, y, count_, [=] __device__(int64_t i) {
      float best = in.At(0, i);
      int32_t from = 0;
      for (int b = 1; b < in.count; ++b) {
        const float x = in.At(b, i);
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
    ASSIGN_OR_RETURN(const Inputs in, Gather(step, args.bottom));
    return Store(step.stream(), gradient.mode, gradient.tensor.data(), count_,
                 [=] __device__(int64_t i) {
                   float product = dy[i];
                   for (int o = 0; o < in.count; ++o) {
                     if (o != b) product *= in.At(o, i);
                   }
                   return product;
                 });
  }

 private:
  absl::StatusOr<Inputs> Gather(StepContext& step,
                                absl::Span<const ConstTensor> bottom) {
    Inputs in;
    in.count = static_cast<int>(bottom.size());
    for (int b = 0; b < std::min(in.count, Inputs::kNear); ++b) {
      in.near[b] = bottom[b].data();
      in.near_weight[b] = coefficients()[b];
    }
    in.far = static_cast<const float* const*>(far_.data());
    in.far_weight = far_weight_.floats();
    if (in.count > Inputs::kNear) RETURN_IF_ERROR(SendAddresses(step, bottom));
    return in;
  }

  // To far_, where they are not the last pass's: once a plan.
  absl::Status SendAddresses(StepContext& step,
                             absl::Span<const ConstTensor> bottom) {
    std::vector<const float*> addresses;
    for (const ConstTensor& tensor : bottom) addresses.push_back(tensor.data());
    if (addresses == addresses_) return absl::OkStatus();
    addresses_ = std::move(addresses);
    return device().CopyFromHost(step.stream(), far_.data(), addresses_.data(),
                                 addresses_.size() * sizeof(float*));
  }

  int64_t count_ = 0;
  Buffer winner_;  // MAX: the bottom that gave the top, int32
  Buffer far_, far_weight_;              // where there are many bottoms
  std::vector<const float*> addresses_;  // in far_
};

}  // namespace

absl::Status RegisterEltwise(LayerRegistry& registry) {
  return registry.Register("Eltwise", DeviceType::kCuda,
                           MakeCudaLayer<EltwiseLayerCuda>);
}

}  // namespace cssp::cuda
