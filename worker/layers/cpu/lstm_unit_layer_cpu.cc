#include "worker/layers/lstm_unit_layer.h"

#include <algorithm>
#include <vector>

#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/cpu/recurrent_kernels.h"

namespace cssp::cpu {
namespace {

// Thread-confined: the training thread.
class LstmUnitLayerCpu final : public LstmUnitLayer {
 public:
  using LstmUnitLayer::LstmUnitLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    streams_ = bottom[0].shape.dim(1);
    d_ = bottom[0].shape.dim(2);
    gates_.assign(4 * streams_ * d_, 0.0f);
    // Backward's results, where only some are wanted or they are to be added.
    written_.assign(5 * streams_ * d_, 0.0f);
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* sums = args.bottom[1].data();
    std::copy_n(sums, gates_.size(), gates_.begin());
    LstmForward(streams_, d_, args.bottom[2].data(), args.bottom[0].data(),
                gates_.data(), args.top[0].data(), args.top[1].data());
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const int64_t n = streams_ * d_;
    const float* dc_prev = written_.data();
    const float* dgates = dc_prev + n;
    LstmBackward(streams_, d_, args.bottom[2].data(), args.bottom[0].data(),
                 gates_.data(), args.top[0].data(), args.top_gradient[0].data(),
                 args.top_gradient[1].data(), written_.data() + n,
                 written_.data());
    HandOut(dc_prev, n, args.bottom_gradient[0]);
    HandOut(dgates, 4 * n, args.bottom_gradient[1]);
    return absl::OkStatus();
  }

 private:
  int64_t streams_ = 0, d_ = 0;
  std::vector<float> gates_;    // activated
  std::vector<float> written_;  // dc_prev, then dgates
};

}  // namespace

absl::Status RegisterLstmUnit(LayerRegistry& registry) {
  return registry.Register("LSTMUnit", DeviceType::kCpu,
                           MakeLayer<LstmUnitLayerCpu>);
}

}  // namespace cssp::cpu
