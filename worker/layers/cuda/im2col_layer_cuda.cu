#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/im2col_layer.h"

namespace cssp::cuda {
namespace {

// Windows over maps.  Travels to a kernel by value.
struct Windows {
  static constexpr int kMost = ConvolutionGeometry::kMaxSpatialAxes;
  struct Axis {
    int64_t in, out, kernel, stride, pad, dilation;
  };
  int axes = 0;
  Axis axis[kMost];
  int64_t plane = 1;    // elements of a map
  int64_t windows = 1;  // over a map
  int64_t taps = 1;     // of a window

  // Top element i: the bottom element it shows, or -1 in the padding.
  __device__ int64_t Element(int64_t i) const {
    int64_t window = i % windows, tap = i / windows % taps;
    int64_t at = 0, scale = 1;
    for (int a = axes - 1; a >= 0; --a) {
      const Axis &x = axis[a];
      const int64_t place =
          window % x.out * x.stride - x.pad + tap % x.kernel * x.dilation;
      if (place < 0 || place >= x.in) return -1;
      at += place * scale;
      scale *= x.in;
      window /= x.out;
      tap /= x.kernel;
    }
    return i / windows / taps * plane + at;
  }

  // Bottom element i, tap k: the top element that shows it there, or -1.
  __device__ int64_t Shown(int64_t i, int64_t k) const {
    int64_t at = i % plane, tap = k, window = 0, scale = 1;
    for (int a = axes - 1; a >= 0; --a) {
      const Axis &x = axis[a];
      const int64_t start = at % x.in + x.pad - tap % x.kernel * x.dilation;
      if (start < 0 || start % x.stride != 0) return -1;
      if (start / x.stride >= x.out) return -1;
      window += start / x.stride * scale;
      scale *= x.out;
      at /= x.in;
      tap /= x.kernel;
    }
    return (i / plane * taps + k) * windows + window;
  }
};

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
    windows_ = Windows();
    windows_.axes = g.spatial_axes();
    for (int a = 0; a < windows_.axes; ++a) {
      windows_.axis[a] = {in[a],       out[a],   g.kernel[a],
                          g.stride[a], g.pad[a], g.dilation[a]};
      windows_.plane *= in[a];
      windows_.windows *= out[a];
      windows_.taps *= g.kernel[a];
    }
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext &step, const ForwardArgs &args) override {
    const float *x = args.bottom[0].data();
    const Windows windows = windows_;
    return Fill(step.stream(), args.top[0].data(), args.top[0].count(),
                [=] __device__(int64_t i) {
                  const int64_t at = windows.Element(i);
                  return at < 0 ? 0.0f : x[at];
                });
  }

  absl::Status Backward(StepContext &step, const BackwardArgs &args) override {
    const GradientTensor &gradient = args.bottom_gradient[0];
    const float *dy = args.top_gradient[0].data();
    const Windows windows = windows_;
    return Store(step.stream(), gradient.mode, gradient.tensor.data(),
                 gradient.tensor.count(), [=] __device__(int64_t i) {
                   float sum = 0;
                   for (int64_t k = 0; k < windows.taps; ++k) {
                     const int64_t at = windows.Shown(i, k);
                     if (at >= 0) sum += dy[at];
                   }
                   return sum;
                 });
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
