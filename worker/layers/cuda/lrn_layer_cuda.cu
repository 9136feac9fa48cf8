#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/lrn_layer.h"

namespace cssp::cuda {
namespace {

// The neighbourhood of an element, whose centre it is: a run of channels, or a
// square of positions.
struct Neighbourhood {
  bool across = true;
  int64_t channels = 0, height = 0, width = 0;
  int64_t reach = 0;  // on either side

  // The sum of value(j) over the neighbours j of i, i included.
  template <class Value>
  __device__ float Sum(int64_t i, Value value) const {
    return across ? SumAcross(i, value) : SumWithin(i, value);
  }

 private:
  template <class Value>
  __device__ float SumAcross(int64_t i, Value value) const {
    const int64_t plane = height * width;
    const int64_t c = i / plane % channels;
    const int64_t begin = max(c - reach, int64_t{0});
    const int64_t end = min(c + reach + 1, channels);
    float sum = 0;
    for (int64_t k = begin; k < end; ++k) sum += value(i + (k - c) * plane);
    return sum;
  }

  template <class Value>
  __device__ float SumWithin(int64_t i, Value value) const {
    const int64_t w = i % width, h = i / width % height;
    const int64_t top = max(h - reach, int64_t{0});
    const int64_t bottom = min(h + reach + 1, height);
    const int64_t left = max(w - reach, int64_t{0});
    const int64_t right = min(w + reach + 1, width);
    float sum = 0;
    for (int64_t y = top; y < bottom; ++y) {
      for (int64_t x = left; x < right; ++x) {
        sum += value(i + (y - h) * width + (x - w));
      }
    }
    return sum;
  }
};

struct SquareOf {
  const float* x;
  __device__ float operator()(int64_t j) const { return x[j] * x[j]; }
};

struct ValueOf {
  const float* x;
  __device__ float operator()(int64_t j) const { return x[j]; }
};

// Keeps d = k + alpha / n * (sum of squares) from Forward to Backward.
// Thread-confined: the training thread.
class LrnLayerCuda final : public CudaLayer<LrnLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    const Shape& shape = bottom[0].shape;
    around_ = {.across = across_channels(),
               .channels = shape.dim(1),
               .height = shape.dim(2),
               .width = shape.dim(3),
               .reach = (local_size() - 1) / 2};
    count_ = shape.count();
    const float n = static_cast<float>(
        across_channels() ? local_size() : local_size() * local_size());
    weight_ = alpha() / n;
    set_scratch_bytes(count_ * sizeof(float));
    return Allocate(count_ * sizeof(float), &divisor_);
  }

  // top = x * d^-beta.
  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* x = args.bottom[0].data();
    float* d = divisor_.floats();
    const Neighbourhood around = around_;
    const float weight = weight_, constant = k(), power = -beta();
    return Fill(step.stream(), args.top[0].data(), count_,
                [=] __device__(int64_t i) {
                  d[i] = constant + weight * around.Sum(i, SquareOf{x});
                  return x[i] * powf(d[i], power);
                });
  }

  // dx(i) = dy(i) d(i)^-beta
  //         - 2 alpha beta / n * x(i) * sum over j of dy(j) x(j) d(j)^(-beta-1)
  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    if (gradient.mode == GradientMode::kNone) return absl::OkStatus();
    const float* x = args.bottom[0].data();
    const float* dy = args.top_gradient[0].data();
    const float* d = divisor_.floats();
    float* share = reinterpret_cast<float*>(step.scratch().data());
    const Neighbourhood around = around_;
    const float power = -beta(), factor = 2 * weight_ * beta();
    RETURN_IF_ERROR(
        Fill(step.stream(), share, count_, [=] __device__(int64_t i) {
          return dy[i] * x[i] * powf(d[i], power - 1);
        }));
    return Store(step.stream(), gradient.mode, gradient.tensor.data(), count_,
                 [=] __device__(int64_t i) {
                   return dy[i] * powf(d[i], power) -
                          factor * x[i] * around.Sum(i, ValueOf{share});
                 });
  }

 private:
  Neighbourhood around_;
  int64_t count_ = 0;
  float weight_ = 0;  // alpha / n
  Buffer divisor_;
};

}  // namespace

absl::Status RegisterLrn(LayerRegistry& registry) {
  return registry.Register("LRN", DeviceType::kCuda,
                           MakeCudaLayer<LrnLayerCuda>);
}

}  // namespace cssp::cuda
