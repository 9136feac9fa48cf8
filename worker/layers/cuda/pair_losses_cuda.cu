// Losses between two bottoms: ContrastiveLoss, SmoothL1Loss.
#include <cmath>

#include "common/base/status_macros.h"
#include "worker/layers/contrastive_loss_layer.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/cuda/reduce.cuh"
#include "worker/layers/smooth_l1_loss_layer.h"

namespace cssp::cuda {
namespace {

// A pair's cost and its slope along a - b, by its squared distance.
struct PairCost {
  const float *like;
  bool legacy;
  double margin;

  __device__ bool Alike(int64_t pair) const {
    return static_cast<int>(like[pair]) != 0;
  }
  __device__ double Value(int64_t pair, double square) const {
    if (Alike(pair)) return square;
    if (legacy) return fmax(margin - square, 0.0);
    const double gap = fmax(margin - sqrt(square), 0.0);
    return gap * gap;
  }
  __device__ float Slope(int64_t pair, double square) const {
    if (Alike(pair)) return 1;
    if (legacy) return margin - square > 0 ? -1 : 0;
    const double distance = sqrt(square), gap = margin - distance;
    return gap > 0 ? static_cast<float>(-gap / (distance + 1e-4)) : 0;
  }
};

// Keeps the squared distances from Forward to Backward.
// Thread-confined: the training thread.
class ContrastiveLossLayerCuda final : public CudaLayer<ContrastiveLossLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    by_pair_ = SumPlan(bottom[0].shape.dim(0), bottom[0].shape.count_from(1));
    total_ = SumPlan(1, by_pair_.segments);
    set_scratch_bytes(
        std::max(by_pair_.scratch_bytes(), total_.scratch_bytes()));
    return Allocate(by_pair_.segments * sizeof(double), &square_);
  }

  absl::Status Forward(StepContext &step, const ForwardArgs &args) override {
    const float *a = args.bottom[0].data();
    const float *b = args.bottom[1].data();
    const int64_t size = by_pair_.length;
    double *square = static_cast<double *>(square_.data());
    RETURN_IF_ERROR(SumSegments<double>(
        step.stream(), by_pair_, step.scratch().data(),
        [=] __device__(int64_t n, int64_t k) {
          const double d = double{a[n * size + k]} - b[n * size + k];
          return d * d;
        },
        [=] __device__(int64_t n, double sum) { square[n] = sum; }));
    const PairCost cost = CostOf(args.bottom);
    float *loss = args.top[0].data();
    const double pairs = by_pair_.segments;
    return SumSegments<double>(
        step.stream(), total_, step.scratch().data(),
        [=] __device__(int64_t, int64_t n) { return cost.Value(n, square[n]); },
        [=] __device__(int64_t, double sum) {
          *loss = static_cast<float>(sum / pairs / 2);
        });
  }

  absl::Status Backward(StepContext &step, const BackwardArgs &args) override {
    const float *a = args.bottom[0].data();
    const float *b = args.bottom[1].data();
    const float *loss_weight = args.top_gradient[0].data();
    const double *square = static_cast<const double *>(square_.data());
    const PairCost cost = CostOf(args.bottom);
    const int64_t size = by_pair_.length;
    const float pairs = static_cast<float>(by_pair_.segments);
    for (int side = 0; side < 2; ++side) {
      const GradientTensor &gradient = args.bottom_gradient[side];
      const float sign = side == 0 ? 1.0f : -1.0f;
      RETURN_IF_ERROR(Store(
          step.stream(), gradient.mode, gradient.tensor.data(),
          gradient.tensor.count(), [=] __device__(int64_t i) {
            const int64_t n = i / size;
            const float slope = *loss_weight / pairs * cost.Slope(n, square[n]);
            return sign * slope * (a[i] - b[i]);
          }));
    }
    return absl::OkStatus();
  }

 private:
  PairCost CostOf(absl::Span<const ConstTensor> bottom) const {
    return {bottom[2].data(), legacy(), margin()};
  }

  SumPlan by_pair_, total_;
  Buffer square_;  // double, one a pair
};

struct SmoothL1Operands {
  const float *a, *b;
  const float *inside, *outside;  // null: 1

  static SmoothL1Operands Of(absl::Span<const ConstTensor> bottom) {
    return {bottom[0].data(), bottom[1].data(),
            bottom.size() > 2 ? bottom[2].data() : nullptr,
            bottom.size() > 3 ? bottom[3].data() : nullptr};
  }
  __device__ float Inside(int64_t i) const { return inside ? inside[i] : 1; }
  __device__ float Outside(int64_t i) const { return outside ? outside[i] : 1; }
  __device__ float Difference(int64_t i) const {
    return Inside(i) * (a[i] - b[i]);
  }
};

// Thread-confined: the training thread.
class SmoothL1LossLayerCuda final : public CudaLayer<SmoothL1LossLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    items_ = static_cast<float>(bottom[0].shape.dim(0));
    plan_ = SumPlan(1, bottom[0].shape.count());
    set_scratch_bytes(plan_.scratch_bytes());
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext &step, const ForwardArgs &args) override {
    const SmoothL1Operands in = SmoothL1Operands::Of(args.bottom);
    const SmoothL1 f = function();
    float *loss = args.top[0].data();
    const double items = items_;
    return SumSegments<double>(
        step.stream(), plan_, step.scratch().data(),
        [=] __device__(int64_t, int64_t i) {
          return double{in.Outside(i)} * f.Value(in.Difference(i));
        },
        [=] __device__(int64_t, double sum) {
          *loss = static_cast<float>(sum / items);
        });
  }

  absl::Status Backward(StepContext &step, const BackwardArgs &args) override {
    const SmoothL1Operands in = SmoothL1Operands::Of(args.bottom);
    const SmoothL1 f = function();
    const float *loss_weight = args.top_gradient[0].data();
    for (int side = 0; side < 2; ++side) {
      const GradientTensor &gradient = args.bottom_gradient[side];
      const float divisor = side == 0 ? items_ : -items_;
      RETURN_IF_ERROR(Store(step.stream(), gradient.mode,
                            gradient.tensor.data(), gradient.tensor.count(),
                            [=] __device__(int64_t i) {
                              return *loss_weight / divisor * in.Outside(i) *
                                     in.Inside(i) * f.Slope(in.Difference(i));
                            }));
    }
    return absl::OkStatus();
  }

 private:
  float items_ = 1;
  SumPlan plan_;
};

}  // namespace

absl::Status RegisterPairLosses(LayerRegistry &registry) {
  RETURN_IF_ERROR(registry.Register("ContrastiveLoss", DeviceType::kCuda,
                                    MakeCudaLayer<ContrastiveLossLayerCuda>));
  return registry.Register("SmoothL1Loss", DeviceType::kCuda,
                           MakeCudaLayer<SmoothL1LossLayerCuda>);
}

}  // namespace cssp::cuda
