// Layers that move elements and compute nothing: Crop, Permute, ShuffleChannel,
// Tile, Parameter, PriorBox.
#include "common/base/status_macros.h"
#include "worker/layers/crop_layer.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/parameter_layer.h"
#include "worker/layers/permute_layer.h"
#include "worker/layers/prior_box_layer.h"
#include "worker/layers/tile_layer.h"

namespace cssp::cuda {
namespace {

absl::Status Copy(Stream &stream, const float *from, GradientMode mode,
                  float *to, int64_t n) {
  return Store(stream, mode, to, n,
               [=] __device__(int64_t i) { return from[i]; });
}

// dense[i] = whole[Source(i)].
absl::Status Gather(Stream &stream, const StridedMap &map, const float *whole,
                    float *dense) {
  return Fill(stream, dense, map.count(),
              [=] __device__(int64_t i) { return whole[map.Source(i)]; });
}

// whole[Source(i)] = dense[i], or += where the mode says add: a map names an
// element once at most.
absl::Status Scatter(Stream &stream, const StridedMap &map, const float *dense,
                     GradientMode mode, float *whole) {
  if (mode == GradientMode::kNone) return absl::OkStatus();
  const bool add = mode == GradientMode::kAdd;
  return ForEach(stream, map.count(), [=] __device__(int64_t i) {
    float &to = whole[map.Source(i)];
    to = add ? to + dense[i] : dense[i];
  });
}

// Thread-confined: the training thread.
class CropLayerCuda final : public CropLayer {
 public:
  using CropLayer::CropLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    map_ = MapOf(bottom[0].shape, top[0].shape);
    return absl::OkStatus();
  }
  absl::Status Forward(StepContext &step, const ForwardArgs &args) override {
    return Gather(step.stream(), map_, args.bottom[0].data(),
                  args.top[0].data());
  }
  absl::Status Backward(StepContext &step, const BackwardArgs &args) override {
    const GradientTensor &gradient = args.bottom_gradient[0];
    if (gradient.mode == GradientMode::kWrite) {
      RETURN_IF_ERROR(Fill(step.stream(), gradient.tensor.data(),
                           gradient.tensor.count(),
                           [] __device__(int64_t) { return 0.0f; }));
    }
    return Scatter(step.stream(), map_, args.top_gradient[0].data(),
                   gradient.mode, gradient.tensor.data());
  }

 private:
  StridedMap map_;
};

// Thread-confined: the training thread.
class TileLayerCuda final : public TileLayer {
 public:
  using TileLayer::TileLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    ASSIGN_OR_RETURN(row_, RowOf(bottom[0].shape));
    return absl::OkStatus();
  }
  absl::Status Forward(StepContext &step, const ForwardArgs &args) override {
    const float *x = args.bottom[0].data();
    const int64_t row = row_, copies = tiles();
    return Fill(step.stream(), args.top[0].data(), args.top[0].count(),
                [=] __device__(int64_t i) {
                  return x[i / row / copies * row + i % row];
                });
  }
  absl::Status Backward(StepContext &step, const BackwardArgs &args) override {
    const GradientTensor &gradient = args.bottom_gradient[0];
    const float *dy = args.top_gradient[0].data();
    const int64_t row = row_, copies = tiles();
    return Store(step.stream(), gradient.mode, gradient.tensor.data(),
                 gradient.tensor.count(), [=] __device__(int64_t i) {
                   const float *first = dy + i / row * row * copies + i % row;
                   float sum = 0;
                   for (int64_t t = 0; t < copies; ++t) sum += first[t * row];
                   return sum;
                 });
  }

 private:
  int64_t row_ = 1;
};

// Thread-confined: the training thread.
class ParameterLayerCuda final : public ParameterLayer {
 public:
  using ParameterLayer::ParameterLayer;

  absl::Status Forward(StepContext &step, const ForwardArgs &args) override {
    return Copy(step.stream(), args.param[0].data(), GradientMode::kWrite,
                args.top[0].data(), args.top[0].count());
  }
  absl::Status Backward(StepContext &step, const BackwardArgs &args) override {
    const GradientTensor &gradient = args.param_gradient[0];
    return Copy(step.stream(), args.top_gradient[0].data(), gradient.mode,
                gradient.tensor.data(), args.top_gradient[0].count());
  }
};

// The boxes are made on the host while the plan is, and kept on the GPU.
// Thread-confined: the training thread.
class PriorBoxLayerCuda final : public CudaLayer<PriorBoxLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    const std::vector<float> priors =
        Priors({bottom[0].shape, bottom[1].shape});
    return AllocateWith(priors, &priors_);
  }
  absl::Status Forward(StepContext &step, const ForwardArgs &args) override {
    return Copy(step.stream(), priors_.floats(), GradientMode::kWrite,
                args.top[0].data(), args.top[0].count());
  }
  absl::Status Backward(StepContext &step, const BackwardArgs &args) override {
    return absl::OkStatus();
  }

 private:
  Buffer priors_;
};

}  // namespace

// Base: PermuteLayer or ShuffleChannelLayer.
// Thread-confined: the training thread.
template <class Base>
class PermutingLayerCuda final : public Base {
 public:
  using Base::Base;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    map_ = this->MapOf(bottom[0].shape);
    return absl::OkStatus();
  }
  absl::Status Forward(StepContext &step, const ForwardArgs &args) override {
    return Gather(step.stream(), map_, args.bottom[0].data(),
                  args.top[0].data());
  }
  // The map names every element once: a scatter writes them all.
  absl::Status Backward(StepContext &step, const BackwardArgs &args) override {
    const GradientTensor &gradient = args.bottom_gradient[0];
    return Scatter(step.stream(), map_, args.top_gradient[0].data(),
                   gradient.mode, gradient.tensor.data());
  }

 private:
  StridedMap map_;
};

absl::Status RegisterRearranging(LayerRegistry &registry) {
  const DeviceType cuda = DeviceType::kCuda;
  RETURN_IF_ERROR(registry.Register("Crop", cuda, MakeLayer<CropLayerCuda>));
  RETURN_IF_ERROR(registry.Register("Tile", cuda, MakeLayer<TileLayerCuda>));
  RETURN_IF_ERROR(
      registry.Register("Parameter", cuda, MakeLayer<ParameterLayerCuda>));
  RETURN_IF_ERROR(
      registry.Register("PriorBox", cuda, MakeCudaLayer<PriorBoxLayerCuda>));
  RETURN_IF_ERROR(registry.Register(
      "Permute", cuda, MakeLayer<PermutingLayerCuda<PermuteLayer>>));
  return registry.Register("ShuffleChannel", cuda,
                           MakeLayer<PermutingLayerCuda<ShuffleChannelLayer>>);
}

}  // namespace cssp::cuda
