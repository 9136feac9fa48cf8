// Losses of labels beside softmax's: InfogainLoss, MultinomialLogisticLoss.
#include <cmath>

#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/cuda/labels.cuh"
#include "worker/layers/cuda/reduce.cuh"
#include "worker/layers/cuda/softmax_kernels.h"
#include "worker/layers/infogain_loss_layer.h"
#include "worker/layers/multinomial_loss_layer.h"
#include "worker/layers/root_folder.h"

namespace cssp::cuda {
namespace {

// Keeps the probabilities and the divisor from Forward to Backward.
// Thread-confined: the training thread.
class InfogainLossLayerCuda final : public CudaLayer<InfogainLossLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    ASSIGN_OR_RETURN(axis_, AxisOf(bottom[0].shape));
    loss_plan_ = SumPlan(1, bottom[0].shape.count());
    row_plan_ = SumPlan(axis_.classes, axis_.classes);
    set_scratch_bytes(
        std::max(loss_plan_.scratch_bytes(), row_plan_.scratch_bytes()));
    RETURN_IF_ERROR(Allocate(sizeof(double), &divisor_));
    RETURN_IF_ERROR(Allocate(axis_.classes * sizeof(float), &row_sums_));
    RETURN_IF_ERROR(AllocateWith(matrix(), &own_matrix_));
    return Allocate(bottom[0].bytes(), &probability_);
  }

  absl::Status Forward(StepContext &step, const ForwardArgs &args) override {
    float *p = probability_.floats();
    RETURN_IF_ERROR(Softmax(step.stream(),
                            {axis_.outer, axis_.classes, axis_.inner},
                            args.bottom[0].data(), p));
    const Labels labels = LabelsOf(args.bottom[1]);
    const float *h = Matrix(args.bottom);
    double *divisor = static_cast<double *>(divisor_.data());
    float *loss = args.top[0].data();
    const auto mode = normalization();
    const int64_t items = axis_.outer, positions = axis_.inner;
    constexpr float kLeast = kLeastProbability;
    RETURN_IF_ERROR(SumSegments<SumPair>(
        step.stream(), loss_plan_, step.scratch().data(),
        [=] __device__(int64_t, int64_t i) {
          const int64_t c = labels.ClassOfScore(i);
          const int64_t label = labels.Class(labels.LabelOfScore(i));
          if (label == kIgnored) return SumPair{0, 0};
          if (label == kNoClass) return SumPair{NAN, 0};
          const double gain = h[label * labels.classes + c];
          return SumPair{-gain * logf(fmaxf(p[i], kLeast)), c == 0 ? 1.0 : 0.0};
        },
        [=] __device__(int64_t, SumPair sum) {
          *divisor =
              LossDivisor(mode, items, positions, static_cast<int64_t>(sum.b));
          *loss = static_cast<float>(sum.a / *divisor);
        }));
    if (args.top.size() < 2) return absl::OkStatus();
    return Fill(step.stream(), args.top[1].data(), args.top[1].count(),
                [=] __device__(int64_t i) { return p[i]; });
  }

  absl::Status Backward(StepContext &step, const BackwardArgs &args) override {
    const GradientTensor &gradient = args.bottom_gradient[0];
    const Labels labels = LabelsOf(args.bottom[1]);
    const float *p = probability_.floats();
    const float *h = Matrix(args.bottom);
    float *row_sums = row_sums_.floats();
    RETURN_IF_ERROR(SumSegments<double>(
        step.stream(), row_plan_, step.scratch().data(),
        [=] __device__(int64_t l, int64_t c) {
          return double{h[l * labels.classes + c]};
        },
        [=] __device__(int64_t l, double sum) {
          row_sums[l] = static_cast<float>(sum);
        }));
    const double *divisor = static_cast<const double *>(divisor_.data());
    const float *loss_weight = args.top_gradient[0].data();
    return Store(step.stream(), gradient.mode, gradient.tensor.data(),
                 gradient.tensor.count(), [=] __device__(int64_t i) {
                   const int64_t c = labels.ClassOfScore(i);
                   const int64_t label = labels.Class(labels.LabelOfScore(i));
                   if (label < 0) return 0.0f;
                   const float weight =
                       static_cast<float>(*loss_weight / *divisor);
                   return weight * (p[i] * row_sums[label] -
                                    h[label * labels.classes + c]);
                 });
  }

 private:
  const float *Matrix(absl::Span<const ConstTensor> bottom) const {
    return bottom.size() > 2 ? bottom[2].data() : own_matrix_.floats();
  }
  Labels LabelsOf(const ConstTensor &label) const {
    return {label.data(), axis_.classes, axis_.inner,
            ignore_label().has_value(), ignore_label().value_or(0)};
  }

  LabelAxis axis_;
  SumPlan loss_plan_, row_plan_;
  Buffer probability_, row_sums_, own_matrix_;
  Buffer divisor_;  // one double
};

// Thread-confined: the training thread.
class MultinomialLossLayerCuda final : public CudaLayer<MultinomialLossLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    axis_ = AxisOf(bottom[0].shape);
    plan_ = SumPlan(1, axis_.labels());
    set_scratch_bytes(plan_.scratch_bytes());
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext &step, const ForwardArgs &args) override {
    const float *p = args.bottom[0].data();
    const Labels labels{args.bottom[1].data(), axis_.classes, 1};
    float *loss = args.top[0].data();
    const double items = axis_.outer;
    constexpr float kLeast = kLeastProbability;
    return SumSegments<double>(
        step.stream(), plan_, step.scratch().data(),
        [=] __device__(int64_t, int64_t n) {
          const int64_t label = labels.Class(n);
          if (label == kNoClass) return double{NAN};
          const float own = p[labels.Column(n) + label];
          return -log(double{fmaxf(own, kLeast)});
        },
        [=] __device__(int64_t, double sum) {
          *loss = static_cast<float>(sum / items);
        });
  }

  absl::Status Backward(StepContext &step, const BackwardArgs &args) override {
    const GradientTensor &gradient = args.bottom_gradient[0];
    const float *p = args.bottom[0].data();
    const Labels labels{args.bottom[1].data(), axis_.classes, 1};
    const float *loss_weight = args.top_gradient[0].data();
    const float items = static_cast<float>(axis_.outer);
    constexpr float kLeast = kLeastProbability;
    return Store(step.stream(), gradient.mode, gradient.tensor.data(),
                 gradient.tensor.count(), [=] __device__(int64_t i) {
                   const bool own = labels.ClassOfScore(i) ==
                                    labels.Class(labels.LabelOfScore(i));
                   return own ? -*loss_weight / items / fmaxf(p[i], kLeast)
                              : 0.0f;
                 });
  }

 private:
  LabelAxis axis_;
  SumPlan plan_;
};

}  // namespace

absl::Status RegisterLabelLosses(LayerRegistry &registry) {
  RETURN_IF_ERROR(registry.Register(
      "InfogainLoss", DeviceType::kCuda,
      [](const caffe::LayerParameter &param, const LayerContext &context) {
        caffe::LayerParameter resolved = param;
        auto *p = resolved.mutable_infogain_loss_param();
        p->set_source(InRootFolder(context.root_folder, p->source()));
        return MakeCudaLayer<InfogainLossLayerCuda>(resolved, context);
      }));
  return registry.Register("MultinomialLogisticLoss", DeviceType::kCuda,
                           MakeCudaLayer<MultinomialLossLayerCuda>);
}

}  // namespace cssp::cuda
