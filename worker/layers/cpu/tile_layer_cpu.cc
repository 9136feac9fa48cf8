#include "common/base/status_macros.h"
#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/tile_layer.h"

namespace cssp::cpu {
namespace {

// Thread-confined: the training thread.
class TileLayerCpu final : public TileLayer {
 public:
  using TileLayer::TileLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    ASSIGN_OR_RETURN(row_, RowOf(bottom[0].shape));
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* x = args.bottom[0].data();
    const int64_t row = row_, copies = tiles();
    Fill(args.top[0].data(), args.top[0].count(),
         [=](int64_t i) { return x[i / row / copies * row + i % row]; });
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    const float* dy = args.top_gradient[0].data();
    const int64_t row = row_, copies = tiles();
    Store(gradient.mode, gradient.tensor.data(), gradient.tensor.count(),
          [=](int64_t i) {
            const float* first = dy + i / row * row * copies + i % row;
            float sum = 0;
            for (int64_t t = 0; t < copies; ++t) sum += first[t * row];
            return sum;
          });
    return absl::OkStatus();
  }

 private:
  int64_t row_ = 1;
};

}  // namespace

absl::Status RegisterTile(LayerRegistry& registry) {
  return registry.Register("Tile", DeviceType::kCpu, MakeLayer<TileLayerCpu>);
}

}  // namespace cssp::cpu
