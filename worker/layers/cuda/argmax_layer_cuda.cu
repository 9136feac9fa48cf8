#include "common/base/status_macros.h"
#include "worker/layers/argmax_layer.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/label_axis.h"

namespace cssp::cuda {
namespace {

// Greater values come first, of equals the later index.
struct Candidate {
  float value;
  int64_t index;  // -1: none

  __device__ bool Before(const Candidate& other) const {
    if (other.index < 0) return index >= 0;
    if (index < 0) return false;
    return value > other.value || (value == other.value && index > other.index);
  }
};

struct ArgMaxTask {
  const float* x;
  float* top;
  int64_t columns, classes, inner, top_k;
  bool both;    // rows of indices, then rows of values
  bool values;  // values in place of indices
};

__device__ void Keep(Candidate* best, const Candidate& other) {
  if (other.Before(*best)) *best = other;
}

// A warp a column.  Pass j finds the first candidate behind that of pass j-1.
__global__ void __launch_bounds__(kThreads) ArgMaxKernel(ArgMaxTask t) {
  const int64_t warps = int64_t{gridDim.x} * (kThreads / 32);
  const int lane = threadIdx.x % 32;
  for (int64_t column =
           int64_t{blockIdx.x} * (kThreads / 32) + threadIdx.x / 32;
       column < t.columns; column += warps) {
    const int64_t o = column / t.inner, i = column % t.inner;
    const float* x = t.x + o * t.classes * t.inner + i;
    Candidate last{0, -1};
    for (int64_t j = 0; j < t.top_k; ++j) {
      Candidate best{0, -1};
      for (int64_t c = lane; c < t.classes; c += 32) {
        const Candidate here{x[c * t.inner], c};
        if (j == 0 || last.Before(here)) Keep(&best, here);
      }
      for (int mask = 16; mask > 0; mask /= 2) {
        Keep(&best, {__shfl_xor_sync(~0u, best.value, mask),
                     __shfl_xor_sync(~0u, best.index, mask)});
      }
      last = best;
      if (lane != 0) continue;
      const float index = static_cast<float>(best.index);
      const int64_t row = o * t.top_k * (t.both ? 2 : t.inner);
      t.top[row + j * t.inner + i] = t.values ? best.value : index;
      if (t.both) t.top[row + t.top_k + j] = best.value;
    }
  }
}

// Thread-confined: the training thread.
class ArgMaxLayerCuda final : public ArgMaxLayer {
 public:
  using ArgMaxLayer::ArgMaxLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    const Shape& shape = bottom[0].shape;
    if (options().has_axis()) {
      ASSIGN_OR_RETURN(axis_, LabelAxis::Of(shape, options().axis()));
    } else {
      axis_ = {shape.dim(0), shape.count_from(1), 1};
    }
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const bool values = options().out_max_val();
    const ArgMaxTask task{.x = args.bottom[0].data(),
                          .top = args.top[0].data(),
                          .columns = axis_.outer * axis_.inner,
                          .classes = axis_.classes,
                          .inner = axis_.inner,
                          .top_k = options().top_k(),
                          .both = values && !options().has_axis(),
                          .values = values && options().has_axis()};
    return Launch(step.stream(), ArgMaxKernel, Blocks(task.columns * 32),
                  kThreads, task);
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    return absl::OkStatus();
  }

 private:
  LabelAxis axis_;
};

}  // namespace

absl::Status RegisterArgMax(LayerRegistry& registry) {
  return registry.Register("ArgMax", DeviceType::kCuda,
                           MakeLayer<ArgMaxLayerCuda>);
}

}  // namespace cssp::cuda
