#include "worker/layers/inner_product_layer.h"

#include "common/base/status_macros.h"
#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/gemm.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/cpu/row_products.h"

namespace cssp::cpu {
namespace {

// Thread-confined: the training thread.
class InnerProductLayerCpu final : public InnerProductLayer {
 public:
  using InnerProductLayer::InnerProductLayer;

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const int64_t n = num_output(), k = inputs();
    const int64_t m = args.bottom[0].count() / k;
    float* y = args.top[0].data();
    const float* b = bias() ? args.param[1].data() : nullptr;
    if (!transpose() && RowProductsPay(m)) {
      RowProducts(m, n, k, args.bottom[0].data(), args.param[0].data(), b, y);
      return absl::OkStatus();
    }
    if (bias()) {
      for (int64_t i = 0; i < m; ++i) std::memcpy(y + i * n, b, n * sizeof(*b));
    }
    return Gemm(false, !transpose(), m, n, k, args.bottom[0].data(),
                args.param[0].data(), bias() ? 1 : 0, y);
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const int64_t n = num_output(), k = inputs();
    const int64_t m = args.top_gradient[0].count() / n;
    const float* dy = args.top_gradient[0].data();
    if (const GradientTensor& w = args.param_gradient[0];
        w.mode != GradientMode::kNone) {
      const float* x = args.bottom[0].data();
      RETURN_IF_ERROR(transpose()
                          ? Gemm(true, false, k, n, m, x, dy, Beta(w.mode),
                                 w.tensor.data())
                          : Gemm(true, false, n, k, m, dy, x, Beta(w.mode),
                                 w.tensor.data()));
    }
    if (bias()) BiasGradient(m, dy, args.param_gradient[1]);
    if (const GradientTensor& x = args.bottom_gradient[0];
        x.mode != GradientMode::kNone) {
      return Gemm(false, transpose(), m, k, n, dy, args.param[0].data(),
                  Beta(x.mode), x.tensor.data());
    }
    return absl::OkStatus();
  }

 private:
  void BiasGradient(int64_t m, const float* dy, const GradientTensor& bias) {
    const int64_t n = num_output();
    Store(bias.mode, bias.tensor.data(), n, [=](int64_t o) {
      float sum = 0;
      for (int64_t i = 0; i < m; ++i) sum += dy[i * n + o];
      return sum;
    });
  }
};

}  // namespace

absl::Status RegisterInnerProduct(LayerRegistry& registry) {
  return registry.Register("InnerProduct", DeviceType::kCpu,
                           MakeLayer<InnerProductLayerCpu>);
}

}  // namespace cssp::cpu
