#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/interp_layer.h"

namespace cssp::cuda {
namespace {

// The output elements that may tap an input element; a superset, in order.
struct TapRange {
  int64_t begin, end;

  __device__ static TapRange Of(const InterpAxis &axis, int64_t at) {
    const double step = axis.out > 1 ? double(axis.in - 1) / (axis.out - 1) : 0;
    if (step == 0) return {0, axis.out};
    const double place = static_cast<double>(at - axis.begin);
    const int64_t begin = static_cast<int64_t>((place - 1) / step) - 1;
    const int64_t end = static_cast<int64_t>((place + 1) / step) + 2;
    return {max(begin, int64_t{0}), min(end, axis.out)};
  }
};

// What output element `out` takes of input element `at`.
__device__ float Share(const InterpAxis &axis, int64_t out, int64_t at) {
  const InterpTap tap = axis.Tap(out);
  float share = 0;
  if (tap.first == at) share += 1 - tap.share;
  if (tap.second == at) share += tap.share;
  return share;
}

// Gathers gradients: an input element asks the outputs that tap it.
// Thread-confined: the training thread.
class InterpLayerCuda final : public InterpLayer {
 public:
  using InterpLayer::InterpLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    const Shape &shape = bottom[0].shape;
    ASSIGN_OR_RETURN(rows_, AxisOf(shape, 2));
    ASSIGN_OR_RETURN(columns_, AxisOf(shape, 3));
    height_ = shape.dim(2);
    width_ = shape.dim(3);
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext &step, const ForwardArgs &args) override {
    const float *x = args.bottom[0].data();
    const InterpAxis rows = rows_, columns = columns_;
    const int64_t size = height_ * width_, width = width_;
    return Fill(step.stream(), args.top[0].data(), args.top[0].count(),
                [=] __device__(int64_t i) {
                  const InterpTap row = rows.Tap(i / columns.out % rows.out);
                  const InterpTap c = columns.Tap(i % columns.out);
                  const float *map = x + i / columns.out / rows.out * size;
                  const float *upper = map + row.first * width;
                  const float *lower = map + row.second * width;
                  return (1 - row.share) * ((1 - c.share) * upper[c.first] +
                                            c.share * upper[c.second]) +
                         row.share * ((1 - c.share) * lower[c.first] +
                                      c.share * lower[c.second]);
                });
  }

  absl::Status Backward(StepContext &step, const BackwardArgs &args) override {
    const GradientTensor &gradient = args.bottom_gradient[0];
    const float *dy = args.top_gradient[0].data();
    const InterpAxis rows = rows_, columns = columns_;
    const int64_t height = height_, width = width_;
    return Store(
        step.stream(), gradient.mode, gradient.tensor.data(),
        gradient.tensor.count(), [=] __device__(int64_t i) {
          const int64_t h = i / width % height, w = i % width;
          const float *map = dy + i / width / height * rows.out * columns.out;
          const TapRange over_h = TapRange::Of(rows, h);
          const TapRange over_w = TapRange::Of(columns, w);
          float sum = 0;
          for (int64_t oh = over_h.begin; oh < over_h.end; ++oh) {
            const float row = Share(rows, oh, h);
            if (row == 0) continue;
            for (int64_t ow = over_w.begin; ow < over_w.end; ++ow) {
              sum += row * Share(columns, ow, w) * map[oh * columns.out + ow];
            }
          }
          return sum;
        });
  }

 private:
  InterpAxis rows_, columns_;
  int64_t height_ = 0, width_ = 0;
};

// Thread-confined: the training thread.
class UpsampleLayerCuda final : public UpsampleLayer {
 public:
  using UpsampleLayer::UpsampleLayer;

  absl::Status Forward(StepContext &step, const ForwardArgs &args) override {
    const float *x = args.bottom[0].data();
    const int64_t s = scale(), wide = args.top[0].shape().dim(3);
    return Fill(step.stream(), args.top[0].data(), args.top[0].count(),
                [=] __device__(int64_t i) {
                  const int64_t row = i / wide / s;  // of all maps' rows
                  return x[row * (wide / s) + i % wide / s];
                });
  }

  absl::Status Backward(StepContext &step, const BackwardArgs &args) override {
    const GradientTensor &gradient = args.bottom_gradient[0];
    const float *dy = args.top_gradient[0].data();
    const int64_t s = scale(), width = gradient.tensor.shape().dim(3);
    return Store(step.stream(), gradient.mode, gradient.tensor.data(),
                 gradient.tensor.count(), [=] __device__(int64_t i) {
                   const int64_t wide = width * s;
                   const float *corner =
                       dy + i / width * s * wide + i % width * s;
                   float sum = 0;
                   for (int64_t row = 0; row < s; ++row) {
                     for (int64_t c = 0; c < s; ++c) {
                       sum += corner[row * wide + c];
                     }
                   }
                   return sum;
                 });
  }
};

}  // namespace

absl::Status RegisterInterp(LayerRegistry &registry) {
  RETURN_IF_ERROR(registry.Register("Interp", DeviceType::kCuda,
                                    MakeLayer<InterpLayerCuda>));
  return registry.Register("Upsample", DeviceType::kCuda,
                           MakeLayer<UpsampleLayerCuda>);
}

}  // namespace cssp::cuda
