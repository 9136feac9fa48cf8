#include <cstring>

#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/embed_layer.h"

namespace cssp::cpu {
namespace {

// Thread-confined: the training thread.
class EmbedLayerCpu final : public EmbedLayer {
 public:
  using EmbedLayer::EmbedLayer;

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const int64_t n = num_output(), inputs = args.bottom[0].count();
    const float* x = args.bottom[0].data();
    const float* weight = args.param[0].data();
    const float* b = bias() ? args.param[1].data() : nullptr;
    for (int64_t i = 0; i < inputs; ++i) {
      int64_t row;
      if (!Names(x[i], &row)) return BadInput(x[i], i);
    }
    Fill(args.top[0].data(), inputs * n, [=](int64_t i) {
      const float w = weight[static_cast<int64_t>(x[i / n]) * n + i % n];
      return b == nullptr ? w : w + b[i % n];
    });
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const float* dy = args.top_gradient[0].data();
    const int64_t inputs = args.bottom[0].count();
    AddRows(args.bottom[0].data(), inputs, dy, args.param_gradient[0]);
    if (!bias()) return absl::OkStatus();
    const int64_t n = num_output();
    const GradientTensor& b = args.param_gradient[1];
    Store(b.mode, b.tensor.data(), n, [=](int64_t o) {
      float sum = 0;
      for (int64_t i = 0; i < inputs; ++i) sum += dy[i * n + o];
      return sum;
    });
    return absl::OkStatus();
  }

 private:
  // Columns are dealt to threads: rows may occur more than once.
  void AddRows(const float* x, int64_t inputs, const float* dy,
               const GradientTensor& weight) const {
    if (weight.mode == GradientMode::kNone) return;
    float* dw = weight.tensor.data();
    const int64_t n = num_output();
    if (weight.mode == GradientMode::kWrite) {
      std::memset(dw, 0, weight.tensor.count() * sizeof(float));
    }
    constexpr int64_t kColumns = 64;
#pragma omp parallel for schedule(static) if (inputs * n >= kParallelElements)
    for (int64_t begin = 0; begin < n; begin += kColumns) {
      const int64_t width = begin + kColumns < n ? kColumns : n - begin;
      for (int64_t i = 0; i < inputs; ++i) {
        float* to = dw + static_cast<int64_t>(x[i]) * n + begin;
        const float* from = dy + i * n + begin;
        for (int64_t o = 0; o < width; ++o) to[o] += from[o];
      }
    }
  }
};

}  // namespace

absl::Status RegisterEmbed(LayerRegistry& registry) {
  return registry.Register("Embed", DeviceType::kCpu, MakeLayer<EmbedLayerCpu>);
}

}  // namespace cssp::cpu
