#include "worker/layers/eltwise_layer.h"

#include <vector>

#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"

namespace cssp::cpu {
namespace {

using caffe::EltwiseParameter;

// Thread-confined: the training thread.
class EltwiseLayerCpu final : public EltwiseLayer {
 public:
  using EltwiseLayer::EltwiseLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    count_ = top[0].stored_count();
    winner_.assign(operation() == EltwiseParameter::MAX ? count_ : 0, 0);
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    float* y = args.top[0].data();
    const float* a = args.bottom[0].data();
    const float first = coefficients()[0];
    if (operation() == EltwiseParameter::SUM) {
      Fill(y, count_, [=](int64_t i) { return first * a[i]; });
    } else {
      Copy(y, a, count_);
    }
    std::fill(winner_.begin(), winner_.end(), 0);
    for (size_t b = 1; b < args.bottom.size(); ++b) {
      Combine(b, args.bottom[b].data(), y);
    }
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const float* dy = args.top_gradient[0].data();
    for (size_t b = 0; b < args.bottom_gradient.size(); ++b) {
      const GradientTensor& gradient = args.bottom_gradient[b];
      if (gradient.mode == GradientMode::kNone) continue;
      float* dx = gradient.tensor.data();
      if (operation() == EltwiseParameter::SUM) {
        const float weight = coefficients()[b];
        Store(gradient.mode, dx, count_,
              [=](int64_t i) { return weight * dy[i]; });
      } else if (operation() == EltwiseParameter::MAX) {
        const int32_t* winner = winner_.data();
        const int32_t self = static_cast<int32_t>(b);
        Store(gradient.mode, dx, count_, [=](int64_t i) {
          return winner[i] == self ? dy[i] : 0.0f;
        });
      } else {
        BackwardProduct(args, b);
      }
    }
    return absl::OkStatus();
  }

 private:
  void Combine(size_t b, const float* x, float* y) {
    if (operation() == EltwiseParameter::SUM) {
      const float weight = coefficients()[b];
      Fill(y, count_, [=](int64_t i) { return y[i] + weight * x[i]; });
    } else if (operation() == EltwiseParameter::PROD) {
      Fill(y, count_, [=](int64_t i) { return y[i] * x[i]; });
    } else {
      int32_t* winner = winner_.data();
      const int32_t self = static_cast<int32_t>(b);
      const bool takes_ties = b == 1;
      Fill(y, count_, [=](int64_t i) {
        if (takes_ties ? y[i] > x[i] : !(x[i] > y[i])) return y[i];
        winner[i] = self;
        return x[i];
      });
    }
  }

  void BackwardProduct(const BackwardArgs& args, size_t b) {
    const GradientTensor& gradient = args.bottom_gradient[b];
    const float* dy = args.top_gradient[0].data();
    if (!stable_product()) {
      const float* x = args.bottom[b].data();
      const float* y = args.top[0].data();
      // 0 / 0 in a padding lane would be nan.
      Store(gradient.mode, gradient.tensor.data(), count_, [=](int64_t i) {
        return dy[i] == 0 ? 0.0f : dy[i] * (y[i] / x[i]);
      });
      return;
    }
    const absl::Span<const ConstTensor> bottoms = args.bottom;
    Store(gradient.mode, gradient.tensor.data(), count_, [=](int64_t i) {
      float product = dy[i];
      for (size_t o = 0; o < bottoms.size(); ++o) {
        if (o != b) product *= bottoms[o].data()[i];
      }
      return product;
    });
  }

  int64_t count_ = 0;
  std::vector<int32_t> winner_;  // MAX: the bottom that gave the top
};

}  // namespace

absl::Status RegisterEltwise(LayerRegistry& registry) {
  return registry.Register("Eltwise", DeviceType::kCpu,
                           MakeLayer<EltwiseLayerCpu>);
}

}  // namespace cssp::cpu
