#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/cuda/windows.cuh"
#include "worker/layers/im2col_layer.h"

namespace cssp::cuda {
namespace {

// Gathers gradients: a bottom element asks every tap for its window.
// Thread-confined: the training thread.
class Im2colLayerCuda final : public Im2colLayer {
 public:
  using Im2colLayer::Im2colLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    const ConvolutionGeometry &g = geometry();
    const ConvolutionGeometry::Extents in = g.Spatial(bottom[0].shape);
    ASSIGN_OR_RETURN(const ConvolutionGeometry::Extents out,
                     g.Convolved(bottom[0].shape));
    windows_ = Windows::Of(g, in, out);
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext &step, const ForwardArgs &args) override {
    return Fill(step.stream(), args.top[0].data(), args.top[0].count(),
                ShowWindows{windows_, args.bottom[0].data()});
  }

  absl::Status Backward(StepContext &step, const BackwardArgs &args) override {
    const GradientTensor &gradient = args.bottom_gradient[0];
    return Store(step.stream(), gradient.mode, gradient.tensor.data(),
                 gradient.tensor.count(),
                 GatherWindows{windows_, args.top_gradient[0].data()});
  }

 private:
  Windows windows_;
};

}  // namespace

absl::Status RegisterIm2col(LayerRegistry &registry) {
  return registry.Register("Im2col", DeviceType::kCuda,
                           MakeLayer<Im2colLayerCuda>);
}

}  // namespace cssp::cuda
