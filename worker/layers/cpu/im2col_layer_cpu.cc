#include "worker/layers/im2col_layer.h"

#include <algorithm>

#include "worker/layers/cpu/convolution_kernel.h"
#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/window_rows.h"

namespace cssp::cpu {
namespace {

// A plane of the bottom is some thread's whole.
// Thread-confined: the training thread.
class Im2colLayerCpu final : public Im2colLayer {
 public:
  using Im2colLayer::Im2colLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    const ConvolutionProblem s = ConvolutionProblem::Of(
        geometry(), bottom[0].shape, top[0].shape, /*group=*/1);
    rows_ = WindowRows(s.x, s.y, s.kernel, s.stride, s.pad, s.dilation);
    planes_ = s.items * s.x_channels;
    plane_ = s.x_positions();
    windows_ = s.y_positions();
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* bottom = args.bottom[0].data();
    float* top = args.top[0].data();
    const int64_t stride = rows_.step();
#pragma omp parallel for schedule(static)
    for (int64_t plane = 0; plane < planes_; ++plane) {
      const float* from = bottom + plane * plane_;
      for (int64_t tap = 0; tap < rows_.taps(); ++tap) {
        float* to = top + (plane * rows_.taps() + tap) * windows_;
        std::fill_n(to, windows_, 0.0f);
        rows_.ForEachRow(tap, [=](int64_t window, int64_t element, int64_t n) {
          for (int64_t i = 0; i < n; ++i) {
            to[window + i] = from[element + i * stride];
          }
        });
      }
    }
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    if (gradient.mode == GradientMode::kNone) return absl::OkStatus();
    const bool add = gradient.mode == GradientMode::kAdd;
    const float* dy = args.top_gradient[0].data();
    float* dx = gradient.tensor.data();
    const int64_t stride = rows_.step();
#pragma omp parallel for schedule(static)
    for (int64_t plane = 0; plane < planes_; ++plane) {
      float* to = dx + plane * plane_;
      if (!add) std::fill_n(to, plane_, 0.0f);
      for (int64_t tap = 0; tap < rows_.taps(); ++tap) {
        const float* from = dy + (plane * rows_.taps() + tap) * windows_;
        rows_.ForEachRow(tap, [=](int64_t window, int64_t element, int64_t n) {
          for (int64_t i = 0; i < n; ++i) {
            to[element + i * stride] += from[window + i];
          }
        });
      }
    }
    return absl::OkStatus();
  }

 private:
  WindowRows rows_;
  int64_t planes_ = 0;   // of the bottom
  int64_t plane_ = 0;    // elements of one
  int64_t windows_ = 0;  // over one
};

}  // namespace

absl::Status RegisterIm2col(LayerRegistry& registry) {
  return registry.Register("Im2col", DeviceType::kCpu,
                           MakeLayer<Im2colLayerCpu>);
}

}  // namespace cssp::cpu
