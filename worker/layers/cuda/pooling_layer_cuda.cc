#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/pool_kernels.h"
#include "worker/layers/pooling_layer.h"
#include "worker/layers/spp_layer.h"

namespace cssp::cuda {
namespace {

DrawSite SiteOf(StepContext &step) {
  const StepState &state = step.state();
  return {state.seed, state.clock, state.pass, step.layer(), state.rank};
}

absl::Status CheckPlane(const PoolShape &shape) {
  if (shape.plane() <= INT32_MAX) return absl::OkStatus();
  return absl::UnimplementedError(
      "pooling of maps of 2^31 elements does not run on a GPU");
}

// Which of the four poolings, and where its indices are: the same for a layer
// and for a level of a pyramid.
struct Pooling {
  bool max, stochastic, draws;
  int32_t *chosen;

  absl::Status Forward(StepContext &step, const PoolShape &shape,
                       const float *x, float *y) const {
    Stream &stream = step.stream();
    if (max) return MaxPool(stream, shape, x, y, chosen);
    if (draws) {
      return StochasticPool(stream, shape, SiteOf(step), x, y, chosen);
    }
    if (stochastic) return WeightedPool(stream, shape, x, y);
    return AvePool(stream, shape, x, y);
  }
  absl::Status Backward(StepContext &step, const PoolShape &shape,
                        const float *x, const float *dy, bool add,
                        float *dx) const {
    Stream &stream = step.stream();
    if (max || draws) {
      return ChosenPoolGradient(stream, shape, chosen, dy, add, dx);
    }
    if (stochastic) {
      return WeightedPoolGradient(stream, shape, x, dy, add, dx);
    }
    return AvePoolGradient(stream, shape, dy, add, dx);
  }
};

// Thread-confined: the training thread.
class PoolingLayerCuda final : public CudaLayer<PoolingLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    const Shape &below = bottom[0].shape;
    const auto axes = AxesFor(below, top[0].shape);
    for (int i = 0; i < 3; ++i) {
      const Axis &a = axes[i];
      shape_.axis[i] = {a.in, a.out, a.kernel, a.stride, a.pad};
    }
    shape_.planes = shape_.channels = below.count(0, 2);
    RETURN_IF_ERROR(CheckPlane(shape_));
    if (!is_max() && !draws()) return absl::OkStatus();
    return Allocate(top[0].shape.count() * sizeof(int32_t), &chosen_);
  }

  absl::Status Forward(StepContext &step, const ForwardArgs &args) override {
    RETURN_IF_ERROR(pooling().Forward(step, shape_, args.bottom[0].data(),
                                      args.top[0].data()));
    if (!has_mask()) return absl::OkStatus();
    return IndicesAsFloats(step.stream(), chosen(), args.top[1].count(),
                           args.top[1].data());
  }

  absl::Status Backward(StepContext &step, const BackwardArgs &args) override {
    const GradientTensor &gradient = args.bottom_gradient[0];
    if (gradient.mode == GradientMode::kNone) return absl::OkStatus();
    return pooling().Backward(
        step, shape_, args.bottom[0].data(), args.top_gradient[0].data(),
        gradient.mode == GradientMode::kAdd, gradient.tensor.data());
  }

 private:
  int32_t *chosen() const { return static_cast<int32_t *>(chosen_.data()); }
  Pooling pooling() const {
    return {is_max(), is_stochastic(), draws(), chosen()};
  }

  PoolShape shape_;
  Buffer chosen_;  // by MAX, or by a draw; int32
};

// Level after level, each where the top wants it.
// Thread-confined: the training thread.
class SppLayerCuda final : public CudaLayer<SppLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    const Shape &below = bottom[0].shape;
    levels_.clear();
    for (const Level &level : LevelsFor(below)) {
      PoolShape shape;
      for (int i = 0; i < 2; ++i) {
        shape.axis[1 + i] = {below.dim(2 + i), level.bins, level.kernel[i],
                             level.kernel[i], level.pad[i]};
      }
      shape.planes = below.count(0, 2);
      shape.channels = below.dim(1);
      shape.top_item = top[0].shape.count_from(1);
      shape.top_offset = level.offset;
      RETURN_IF_ERROR(CheckPlane(shape));
      levels_.push_back(shape);
    }
    if (!is_max() && !draws()) return absl::OkStatus();
    return Allocate(top[0].shape.count() * sizeof(int32_t), &chosen_);
  }

  absl::Status Forward(StepContext &step, const ForwardArgs &args) override {
    for (const PoolShape &level : levels_) {
      RETURN_IF_ERROR(pooling().Forward(step, level, args.bottom[0].data(),
                                        args.top[0].data()));
    }
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext &step, const BackwardArgs &args) override {
    const GradientTensor &gradient = args.bottom_gradient[0];
    if (gradient.mode == GradientMode::kNone) return absl::OkStatus();
    bool add = gradient.mode == GradientMode::kAdd;
    for (const PoolShape &level : levels_) {
      RETURN_IF_ERROR(pooling().Backward(step, level, args.bottom[0].data(),
                                         args.top_gradient[0].data(), add,
                                         gradient.tensor.data()));
      add = true;
    }
    return absl::OkStatus();
  }

 private:
  Pooling pooling() const {
    return {is_max(), is_stochastic(), draws(),
            static_cast<int32_t *>(chosen_.data())};
  }

  std::vector<PoolShape> levels_;
  Buffer chosen_;  // by MAX, or by a draw; int32
};

}  // namespace

absl::Status RegisterPooling(LayerRegistry &registry) {
  RETURN_IF_ERROR(registry.Register("Pooling", DeviceType::kCuda,
                                    MakeCudaLayer<PoolingLayerCuda>));
  return registry.Register("SPP", DeviceType::kCuda,
                           MakeCudaLayer<SppLayerCuda>);
}

}  // namespace cssp::cuda
