#include <cfloat>

#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/cuda/labels.cuh"
#include "worker/layers/cuda/reduce.cuh"
#include "worker/layers/cuda/softmax_kernels.h"
#include "worker/layers/softmax_loss_layer.h"

namespace cssp::cuda {
namespace {

// Keeps the probabilities and the divisor from Forward to Backward.
// Thread-confined: the training thread.
class SoftmaxWithLossLayerCuda final : public CudaLayer<SoftmaxWithLossLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    ASSIGN_OR_RETURN(axis_, AxisOf(bottom[0].shape));
    plan_ = SumPlan(1, axis_.labels());
    set_scratch_bytes(plan_.scratch_bytes());
    RETURN_IF_ERROR(Allocate(sizeof(double), &divisor_));
    return Allocate(bottom[0].bytes(), &probability_);
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    Stream& stream = step.stream();
    float* p = probability_.floats();
    RETURN_IF_ERROR(Softmax(stream, {axis_.outer, axis_.classes, axis_.inner},
                            args.bottom[0].data(), p));
    const Labels labels = LabelsOf(args.bottom[1]);
    double* divisor = static_cast<double*>(divisor_.data());
    float* loss = args.top[0].data();
    const auto mode = normalization();
    const int64_t items = axis_.outer, positions = axis_.inner;
    const float own_share = TargetOf(axis_).own;
    const float every_share = TargetOf(axis_).every;
    RETURN_IF_ERROR(SumSegments<SumPair>(
        stream, plan_, step.scratch().data(),
        [=] __device__(int64_t, int64_t i) {
          const int64_t label = labels.Class(i);
          if (label == kIgnored) return SumPair{0, 0};
          if (label == kNoClass) return SumPair{NAN, 1};
          const float* column = p + labels.Column(i);
          double cost = -double{own_share} *
                        logf(fmaxf(column[label * labels.inner], FLT_MIN));
          if (every_share == 0) return SumPair{cost, 1};
          for (int64_t c = 0; c < labels.classes; ++c) {
            cost -= double{every_share} *
                    logf(fmaxf(column[c * labels.inner], FLT_MIN));
          }
          return SumPair{cost, 1};
        },
        [=] __device__(int64_t, SumPair sum) {
          *divisor =
              LossDivisor(mode, items, positions, static_cast<int64_t>(sum.b));
          *loss = static_cast<float>(sum.a / *divisor);
        }));
    if (args.top.size() < 2) return absl::OkStatus();
    return Fill(stream, args.top[1].data(), args.top[1].count(),
                [=] __device__(int64_t i) { return p[i]; });
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    const Labels labels = LabelsOf(args.bottom[1]);
    const float* p = probability_.floats();
    const double* divisor = static_cast<const double*>(divisor_.data());
    const float* loss_weight = args.top_gradient[0].data();
    const float own_share = TargetOf(axis_).own;
    const float every_share = TargetOf(axis_).every;
    return Store(
        step.stream(), gradient.mode, gradient.tensor.data(),
        gradient.tensor.count(), [=] __device__(int64_t i) {
          const int64_t label = labels.Class(labels.LabelOfScore(i));
          if (label < 0) return 0.0f;
          const float weight = static_cast<float>(*loss_weight / *divisor);
          const bool own = labels.ClassOfScore(i) == label;
          return weight * (p[i] - every_share - (own ? own_share : 0.0f));
        });
  }

 private:
  Labels LabelsOf(const ConstTensor& label) const {
    return {label.data(), axis_.classes, axis_.inner,
            ignore_label().has_value(), ignore_label().value_or(0)};
  }

  LabelAxis axis_;
  SumPlan plan_;
  Buffer probability_;
  Buffer divisor_;  // one double
};

}  // namespace

absl::Status RegisterSoftmaxLoss(LayerRegistry& registry) {
  return registry.Register("SoftmaxWithLoss", DeviceType::kCuda,
                           MakeCudaLayer<SoftmaxWithLossLayerCuda>);
}

}  // namespace cssp::cuda
