#include "worker/layers/dropout_layer.h"

#include <vector>

#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/net/philox.h"

namespace cssp::cpu {
namespace {

// Keeps the draws from Forward to Backward, a byte an element in stored order.
// Thread-confined: the training thread.
class DropoutLayerCpu final : public DropoutLayer {
 public:
  using DropoutLayer::DropoutLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    desc_ = bottom[0];
    keep_.assign(active() ? desc_.stored_count() : 0, 0);
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* x = args.bottom[0].data();
    if (active()) Draw(step);
    Apply(GradientMode::kWrite, x, args.top[0].data());
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    Apply(gradient.mode, args.top_gradient[0].data(), gradient.tensor.data());
    return absl::OkStatus();
  }

 private:
  void Apply(GradientMode mode, const float* from, float* to) const {
    const int64_t n = desc_.stored_count();
    if (!active()) {
      if (from != to) Store(mode, to, n, [=](int64_t i) { return from[i]; });
      return;
    }
    const uint8_t* keep = keep_.data();
    const float scale = 1 / (1 - ratio());
    Store(mode, to, n,
          [=](int64_t i) { return keep[i] ? from[i] * scale : 0.0f; });
  }

  void Draw(StepContext& step) {
    const StepState& state = step.state();
    const DrawSite site{state.seed, state.clock, state.pass, step.layer(),
                        state.rank};
    if (desc_.format == Format::kCaffe) {
      DrawPlain(site);
    } else {
      DrawBlocked(site);
    }
  }

  void DrawPlain(const DrawSite& site) {
    const int64_t n = desc_.stored_count();
    const float drop = ratio();
#pragma omp parallel for schedule(static) if (n >= kParallelElements)
    for (int64_t b = 0; b < (n + 3) / 4; ++b) {
      const PhiloxBlock draw = DrawBlock(site, static_cast<uint32_t>(b));
      for (int64_t i = 4 * b; i < 4 * b + 4 && i < n; ++i) {
        keep_[i] = UnitFloat(draw[i % 4]) >= drop;
      }
    }
  }

  // Draws are made in Caffe's order, four at a time, and scattered.
  void DrawBlocked(const DrawSite& site) {
    const ChannelView v = ChannelView::Of(desc_, 1);
    const int64_t n = desc_.shape.count();
    const float drop = ratio();
#pragma omp parallel for schedule(static) if (n >= kParallelElements)
    for (int64_t b = 0; b < (n + 3) / 4; ++b) {
      const PhiloxBlock draw = DrawBlock(site, static_cast<uint32_t>(b));
      for (int64_t i = 4 * b; i < 4 * b + 4 && i < n; ++i) {
        const int64_t position = i % v.positions;
        const int64_t channel = i / v.positions % v.channels;
        const int64_t item = i / v.positions / v.channels;
        const int64_t block = item * v.blocks + channel / v.lanes;
        keep_[(block * v.positions + position) * v.lanes + channel % v.lanes] =
            UnitFloat(draw[i % 4]) >= drop;
      }
    }
  }

  TensorDesc desc_;
  std::vector<uint8_t> keep_;
};

}  // namespace

absl::Status RegisterDropout(LayerRegistry& registry) {
  return registry.Register("Dropout", DeviceType::kCpu,
                           MakeLayer<DropoutLayerCpu>);
}

}  // namespace cssp::cpu
