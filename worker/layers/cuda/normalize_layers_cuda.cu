// Normalisation item by item: MVN, Normalize; and Axpy, which is as small.
#include <algorithm>
#include <cmath>

#include "common/base/status_macros.h"
#include "worker/layers/axpy_layer.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/cuda/reduce.cuh"
#include "worker/layers/mvn_layer.h"
#include "worker/layers/normalize_layer.h"

namespace cssp::cuda {
namespace {

// Keeps 1 / s of every group from Forward to Backward.
// Thread-confined: the training thread.
class MvnLayerCuda final : public CudaLayer<MvnLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    const int64_t groups = GroupsOf(bottom[0].shape);
    size_ = bottom[0].shape.count() / std::max<int64_t>(groups, 1);
    plan_ = SumPlan(groups, size_);
    set_scratch_bytes(plan_.scratch_bytes());
    RETURN_IF_ERROR(Allocate(groups * sizeof(SumPair), &mean_));
    return Allocate(groups * sizeof(float), &inverse_);
  }

  absl::Status Forward(StepContext &step, const ForwardArgs &args) override {
    const float *x = args.bottom[0].data();
    const int64_t size = size_;
    SumPair *mean = static_cast<SumPair *>(mean_.data());
    float *inverse = inverse_.floats();
    RETURN_IF_ERROR(SumSegments<double>(
        step.stream(), plan_, step.scratch().data(),
        [=] __device__(int64_t g, int64_t k) {
          return double{x[g * size + k]};
        },
        [=] __device__(int64_t g, double sum) { mean[g].a = sum / size; }));
    const bool scale = normalize_variance();
    const double eps = this->eps();
    if (scale) {
      RETURN_IF_ERROR(SumSegments<double>(
          step.stream(), plan_, step.scratch().data(),
          [=] __device__(int64_t g, int64_t k) {
            const double d = x[g * size + k] - mean[g].a;
            return d * d;
          },
          [=] __device__(int64_t g, double sum) {
            inverse[g] = static_cast<float>(1 / (sqrt(sum / size) + eps));
          }));
    }
    return Fill(
        step.stream(), args.top[0].data(), args.top[0].count(),
        [=] __device__(int64_t i) {
          const int64_t g = i / size;
          const double centred = x[i] - mean[g].a;
          return static_cast<float>(scale ? centred * inverse[g] : centred);
        });
  }

  absl::Status Backward(StepContext &step, const BackwardArgs &args) override {
    const GradientTensor &gradient = args.bottom_gradient[0];
    if (gradient.mode == GradientMode::kNone) return absl::OkStatus();
    const bool scale = normalize_variance();
    const float *dy = args.top_gradient[0].data();
    const float *y = args.top[0].data();
    const int64_t size = size_;
    // <dy> and <dy * top>.
    SumPair *mean = static_cast<SumPair *>(mean_.data());
    RETURN_IF_ERROR(SumSegments<SumPair>(
        step.stream(), plan_, step.scratch().data(),
        [=] __device__(int64_t g, int64_t k) {
          const int64_t i = g * size + k;
          return SumPair{dy[i], scale ? double{dy[i]} * y[i] : 0.0};
        },
        [=] __device__(int64_t g, SumPair sum) {
          mean[g] = {sum.a / size, sum.b / size};
        }));
    const float *inverse = inverse_.floats();
    return Store(step.stream(), gradient.mode, gradient.tensor.data(),
                 gradient.tensor.count(), [=] __device__(int64_t i) {
                   const SumPair m = mean[i / size];
                   double v = dy[i] - m.a;
                   if (scale) v = (v - m.b * y[i]) * inverse[i / size];
                   return static_cast<float>(v);
                 });
  }

 private:
  int64_t size_ = 0;
  SumPlan plan_;
  Buffer mean_, inverse_;
};

// Which elements share a norm: an item's, or the channels at a position.
struct NormGroups {
  ChannelView view;
  bool across;

  __host__ __device__ int64_t count() const {
    return across ? view.items : view.items * view.positions;
  }
  __device__ int64_t Of(int64_t i) const {
    const int64_t item = i / (view.channels * view.positions);
    return across ? item : item * view.positions + i % view.positions;
  }
};

// Keeps 1 / norm from Forward to Backward.
// Thread-confined: the training thread.
class NormalizeLayerCuda final : public CudaLayer<NormalizeLayer> {
 public:
  using CudaLayer::CudaLayer;

  // A shared scale is one channel's.
  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    view_ = ChannelView::Of(bottom[0].shape, 1);
    groups_ = {view_, across_spatial()};
    scales_ = channel_shared() ? ChannelView{1, 1, view_.count()} : view_;
    item_plan_ = SumPlan(view_.items, view_.channels * view_.positions);
    set_scratch_bytes(std::max(item_plan_.scratch_bytes(),
                               ChannelSumPlan(scales_).scratch_bytes()));
    RETURN_IF_ERROR(Allocate(groups_.count() * sizeof(float), &along_));
    return Allocate(groups_.count() * sizeof(float), &inverse_);
  }

  absl::Status Forward(StepContext &step, const ForwardArgs &args) override {
    const float *x = args.bottom[0].data();
    const float *scale = args.param[0].data();
    float *inverse = inverse_.floats();
    const double eps = this->eps();
    RETURN_IF_ERROR(SumGroups(
        step, [=] __device__(int64_t i) { return double{x[i]} * x[i]; },
        [=] __device__(int64_t g, double sum) {
          inverse[g] = static_cast<float>(1 / sqrt(sum + eps));
        }));
    const NormGroups groups = groups_;
    const ChannelView scales = scales_;
    return Fill(step.stream(), args.top[0].data(), view_.count(),
                [=] __device__(int64_t i) {
                  return x[i] * inverse[groups.Of(i)] *
                         scale[scales.Channel(i)];
                });
  }

  absl::Status Backward(StepContext &step, const BackwardArgs &args) override {
    const float *x = args.bottom[0].data();
    const float *dy = args.top_gradient[0].data();
    const float *scale = args.param[0].data();
    const float *inverse = inverse_.floats();
    const NormGroups groups = groups_;
    const ChannelView scales = scales_;
    if (args.param_gradient[0].mode != GradientMode::kNone) {
      const Slot slot = Slot::Of(args.param_gradient[0]);
      RETURN_IF_ERROR(SumChannels<double>(
          step.stream(), scales, step.scratch().data(),
          [=] __device__(int64_t i, int64_t) {
            return double{dy[i]} * x[i] * inverse[groups.Of(i)];
          },
          [=] __device__(int64_t c, double sum) {
            slot.Put(c, static_cast<float>(sum));
          }));
    }
    const GradientTensor &gradient = args.bottom_gradient[0];
    if (gradient.mode == GradientMode::kNone) return absl::OkStatus();
    float *along = along_.floats();
    RETURN_IF_ERROR(SumGroups(
        step,
        [=] __device__(int64_t i) {
          return double{dy[i]} * scale[scales.Channel(i)] * x[i];
        },
        [=] __device__(int64_t g, double sum) {
          along[g] = static_cast<float>(sum * double{inverse[g]} * inverse[g]);
        }));
    return Store(step.stream(), gradient.mode, gradient.tensor.data(),
                 view_.count(), [=] __device__(int64_t i) {
                   const int64_t g = groups.Of(i);
                   return (dy[i] * scale[scales.Channel(i)] - x[i] * along[g]) *
                          inverse[g];
                 });
  }

  // Public only since device lambdas may not stand in private functions.
  // finish(g, sum of term(i) over the elements i of group g).
  template <class Term, class Finish>
  absl::Status SumGroups(StepContext &step, Term term, Finish finish) {
    const int64_t size = item_plan_.length;
    if (groups_.across) {
      return SumSegments<double>(
          step.stream(), item_plan_, step.scratch().data(),
          [=] __device__(int64_t n, int64_t k) { return term(n * size + k); },
          finish);
    }
    // A thread a position: neighbours read neighbours.
    const ChannelView view = view_;
    return ForEach(step.stream(), groups_.count(), [=] __device__(int64_t g) {
      const int64_t item = g / view.positions, p = g % view.positions;
      double sum = 0;
      for (int64_t c = 0; c < view.channels; ++c) {
        sum += term(view.Index(item, c, p));
      }
      finish(g, sum);
    });
  }

 private:
  ChannelView view_, scales_;
  NormGroups groups_;
  SumPlan item_plan_;
  Buffer inverse_, along_;
};

// Thread-confined: the training thread.
class AxpyLayerCuda final : public CudaLayer<AxpyLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    plan_ = SumPlan(bottom[1].shape.count(0, 2), bottom[1].shape.count_from(2));
    set_scratch_bytes(plan_.scratch_bytes());
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext &step, const ForwardArgs &args) override {
    const float *a = args.bottom[0].data();
    const float *x = args.bottom[1].data();
    const float *y = args.bottom[2].data();
    const int64_t positions = plan_.length;
    return Fill(
        step.stream(), args.top[0].data(), args.top[0].count(),
        [=] __device__(int64_t i) { return a[i / positions] * x[i] + y[i]; });
  }

  absl::Status Backward(StepContext &step, const BackwardArgs &args) override {
    const float *a = args.bottom[0].data();
    const float *x = args.bottom[1].data();
    const float *dy = args.top_gradient[0].data();
    const int64_t positions = plan_.length;
    const int64_t count = args.top_gradient[0].count();
    if (args.bottom_gradient[0].mode != GradientMode::kNone) {
      const Slot slot = Slot::Of(args.bottom_gradient[0]);
      RETURN_IF_ERROR(SumSegments<double>(
          step.stream(), plan_, step.scratch().data(),
          [=] __device__(int64_t plane, int64_t k) {
            const int64_t i = plane * positions + k;
            return double{dy[i]} * x[i];
          },
          [=] __device__(int64_t plane, double sum) {
            slot.Put(plane, static_cast<float>(sum));
          }));
    }
    const GradientTensor &dx = args.bottom_gradient[1];
    RETURN_IF_ERROR(
        Store(step.stream(), dx.mode, dx.tensor.data(), count,
              [=] __device__(int64_t i) { return a[i / positions] * dy[i]; }));
    const GradientTensor &d = args.bottom_gradient[2];
    return Store(step.stream(), d.mode, d.tensor.data(), count,
                 [=] __device__(int64_t i) { return dy[i]; });
  }

 private:
  SumPlan plan_;
};

}  // namespace

absl::Status RegisterNormalizing(LayerRegistry &registry) {
  const DeviceType cuda = DeviceType::kCuda;
  RETURN_IF_ERROR(registry.Register("MVN", cuda, MakeCudaLayer<MvnLayerCuda>));
  RETURN_IF_ERROR(
      registry.Register("Normalize", cuda, MakeCudaLayer<NormalizeLayerCuda>));
  return registry.Register("Axpy", cuda, MakeCudaLayer<AxpyLayerCuda>);
}

}  // namespace cssp::cuda
