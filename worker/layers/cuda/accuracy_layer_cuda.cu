#include <algorithm>

#include "common/base/status_macros.h"
#include "worker/layers/accuracy_layer.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/labels.cuh"
#include "worker/layers/cuda/reduce.cuh"

namespace cssp::cuda {
namespace {

// What became of a label.
enum Verdict : uint8_t { kWrong, kRight, kLeftOut, kBad };

// A warp a label.
__global__ void __launch_bounds__(kThreads)
    JudgeKernel(int64_t count, Labels labels, const float* scores,
                int64_t top_k, uint8_t* verdict) {
  const int64_t step = int64_t{gridDim.x} * (kThreads / 32);
  const int lane = threadIdx.x % 32;
  for (int64_t i = int64_t{blockIdx.x} * (kThreads / 32) + threadIdx.x / 32;
       i < count; i += step) {
    const int64_t label = labels.Class(i);
    if (label < 0) {
      if (lane == 0) verdict[i] = label == kIgnored ? kLeftOut : kBad;
      continue;
    }
    const float* column = scores + labels.Column(i);
    const float own = column[label * labels.inner];
    // Ties count against the label, as in Caffe; it is as good as itself.
    double as_good = 0;
    for (int64_t c = lane; c < labels.classes; c += 32) {
      as_good += column[c * labels.inner] >= own;
    }
    as_good = WarpSum(as_good);
    if (lane == 0) {
      verdict[i] = as_good >= 1 && as_good <= top_k ? kRight : kWrong;
    }
  }
}

__device__ float Share(SumPair right_of) {
  return right_of.b == 0 ? 0.0f : static_cast<float>(right_of.a / right_of.b);
}

// Thread-confined: the training thread.
class AccuracyLayerCuda final : public CudaLayer<AccuracyLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    ASSIGN_OR_RETURN(axis_, AxisOf(bottom[0].shape));
    overall_ = SumPlan(1, axis_.labels());
    by_class_ = SumPlan(top.size() > 1 ? axis_.classes : 0, axis_.labels());
    sums_bytes_ =
        AlignUp(std::max(overall_.scratch_bytes(), by_class_.scratch_bytes()));
    set_scratch_bytes(sums_bytes_ + axis_.labels());
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    Stream& stream = step.stream();
    void* sums = step.scratch().data();
    uint8_t* verdict = step.scratch().data() + sums_bytes_;
    const Labels labels{args.bottom[1].data(), axis_.classes, axis_.inner,
                        ignore_label().has_value(), ignore_label().value_or(0)};
    const int64_t count = axis_.labels();
    RETURN_IF_ERROR(Launch(stream, JudgeKernel, Blocks(count * 32), kThreads,
                           count, labels, args.bottom[0].data(), top_k(),
                           verdict));
    float* accuracy = args.top[0].data();
    RETURN_IF_ERROR(SumSegments<SumPair>(
        stream, overall_, sums,
        [=] __device__(int64_t, int64_t i) {
          const uint8_t v = verdict[i];
          return SumPair{v == kBad     ? NAN
                         : v == kRight ? 1.0
                                       : 0.0,
                         v == kLeftOut ? 0.0 : 1.0};
        },
        [=] __device__(int64_t, SumPair sum) { *accuracy = Share(sum); }));
    if (args.top.size() < 2) return absl::OkStatus();
    float* shares = args.top[1].data();
    return SumSegments<SumPair>(
        stream, by_class_, sums,
        [=] __device__(int64_t c, int64_t i) {
          if (labels.Class(i) != c) return SumPair{0, 0};
          return SumPair{verdict[i] == kRight ? 1.0 : 0.0, 1.0};
        },
        [=] __device__(int64_t c, SumPair sum) { shares[c] = Share(sum); });
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    return absl::OkStatus();
  }

 private:
  LabelAxis axis_;
  SumPlan overall_, by_class_;
  size_t sums_bytes_ = 0;
};

}  // namespace

absl::Status RegisterAccuracy(LayerRegistry& registry) {
  return registry.Register("Accuracy", DeviceType::kCuda,
                           MakeCudaLayer<AccuracyLayerCuda>);
}

}  // namespace cssp::cuda
