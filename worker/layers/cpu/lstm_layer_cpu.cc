#include <algorithm>
#include <vector>

#include "common/base/status_macros.h"
#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/gemm.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/cpu/recurrent_kernels.h"
#include "worker/layers/recurrent_layer.h"

namespace cssp::cpu {
namespace {

// Products with x run over all steps at once, those with h step by step.
// Thread-confined: the training thread.
class LstmLayerCpu final : public LstmLayer {
 public:
  using LstmLayer::LstmLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override;
  absl::Status Forward(StepContext& step, const ForwardArgs& args) override;
  absl::Status Backward(StepContext& step, const BackwardArgs& args) override;

 private:
  int64_t state_size() const { return streams_ * num_output(); }
  int64_t gates_size() const { return 4 * state_size(); }

  void Begin(const ForwardArgs& args);
  void End(const ForwardArgs& args);
  absl::Status ThroughTime(const BackwardArgs& args, float* dgates, float* dh,
                           float* dc);
  absl::Status StaticGradients(const BackwardArgs& args, const float* dgates,
                               float* sums);

  int64_t steps_ = 0, streams_ = 0;
  std::vector<float> h_, c_;   // the state that goes on
  std::vector<float> cells_;   // c_0 to c_T
  std::vector<float> conted_;  // cont_t h_(t-1), step by step
  std::vector<float> gates_;   // activated, step by step
};

absl::Status LstmLayerCpu::Bind(absl::Span<const TensorDesc> bottom,
                                absl::Span<const TensorDesc> top) {
  steps_ = bottom[0].shape.dim(0);
  streams_ = bottom[0].shape.dim(1);
  // A new plan does not end the sequences, other streams do.
  if (static_cast<int64_t>(h_.size()) != state_size()) {
    h_.assign(state_size(), 0.0f);
    c_.assign(state_size(), 0.0f);
  }
  cells_.assign((steps_ + 1) * state_size(), 0.0f);
  conted_.assign(steps_ * state_size(), 0.0f);
  gates_.assign(steps_ * gates_size(), 0.0f);
  // Backward: the gates' gradients, their sum over steps, and dh and dc.
  scratch_bytes_ =
      ((steps_ + 1) * gates_size() + 2 * state_size()) * sizeof(float);
  return absl::OkStatus();
}

void LstmLayerCpu::Begin(const ForwardArgs& args) {
  if (exposes()) {
    const int first = first_state_bottom();
    std::copy_n(args.bottom[first].data(), state_size(), h_.data());
    std::copy_n(args.bottom[first + 1].data(), state_size(), c_.data());
  }
  std::copy(c_.begin(), c_.end(), cells_.begin());
}

void LstmLayerCpu::End(const ForwardArgs& args) {
  const int64_t n = state_size();
  if (steps_ > 0) {
    std::copy_n(args.top[0].data() + (steps_ - 1) * n, n, h_.data());
    std::copy_n(&cells_[steps_ * n], n, c_.data());
  }
  if (!exposes()) return;
  std::copy_n(h_.data(), n, args.top[1].data());
  std::copy_n(c_.data(), n, args.top[2].data());
}

absl::Status LstmLayerCpu::Forward(StepContext& step, const ForwardArgs& args) {
  const int64_t d = num_output(), n = state_size();
  const float* cont = args.bottom[1].data();
  const float* w_hc = args.param[first_recurrent_param()].data();
  float* h = args.top[0].data();
  Begin(args);
  RETURN_IF_ERROR(Affine(steps_ * streams_, 4 * d, inputs(),
                         args.bottom[0].data(), args.param[0].data(),
                         args.param[1].data(), gates_.data()));
  if (has_static()) {
    RETURN_IF_ERROR(AddStatic(steps_, streams_, 4 * d, static_inputs(),
                              args.bottom[2].data(), args.param[2].data(),
                              reinterpret_cast<float*>(step.scratch().data()),
                              gates_.data()));
  }
  for (int64_t t = 0; t < steps_; ++t) {
    const float* cont_t = cont + t * streams_;
    float* gates = &gates_[t * gates_size()];
    float* conted = &conted_[t * n];
    Continue(streams_, d, cont_t, t == 0 ? h_.data() : h + (t - 1) * n, conted);
    RETURN_IF_ERROR(
        Gemm(false, true, streams_, 4 * d, d, conted, w_hc, 1, gates));
    LstmForward(streams_, d, cont_t, &cells_[t * n], gates,
                &cells_[(t + 1) * n], h + t * n);
  }
  End(args);
  return absl::OkStatus();
}

// From the last step to the first: the gates' gradients, and dh and dc become
// those of the state before the first.
absl::Status LstmLayerCpu::ThroughTime(const BackwardArgs& args, float* dgates,
                                       float* dh, float* dc) {
  const int64_t d = num_output(), n = state_size();
  const float* cont = args.bottom[1].data();
  const float* dy = args.top_gradient[0].data();
  const float* w_hc = args.param[first_recurrent_param()].data();
  StateGradient(exposes() ? args.top_gradient[1].data() : nullptr, n, dh);
  StateGradient(exposes() ? args.top_gradient[2].data() : nullptr, n, dc);
  for (int64_t t = steps_; t-- > 0;) {
    const float* cont_t = cont + t * streams_;
    float* dgates_t = dgates + t * gates_size();
    if (dy != nullptr) AddOnto(dh, dy + t * n, n);
    LstmBackward(streams_, d, cont_t, &cells_[t * n], &gates_[t * gates_size()],
                 &cells_[(t + 1) * n], dc, dh, dgates_t, dc);
    RETURN_IF_ERROR(
        Gemm(false, false, streams_, d, 4 * d, dgates_t, w_hc, 0, dh));
    Continue(streams_, d, cont_t, dh, dh);
  }
  return absl::OkStatus();
}

absl::Status LstmLayerCpu::StaticGradients(const BackwardArgs& args,
                                           const float* dgates, float* sums) {
  SumRows(dgates, steps_, gates_size(), GradientMode::kWrite, sums);
  return AffineBackward(streams_, 4 * num_output(), static_inputs(),
                        args.bottom[2].data(), args.param[2].data(), sums,
                        args.param_gradient[2], args.bottom_gradient[2]);
}

absl::Status LstmLayerCpu::Backward(StepContext& step,
                                    const BackwardArgs& args) {
  const int64_t d = num_output(), items = steps_ * streams_;
  float* dgates = reinterpret_cast<float*>(step.scratch().data());
  float* sums = dgates + steps_ * gates_size();
  float* dh = sums + gates_size();
  float* dc = dh + state_size();
  RETURN_IF_ERROR(ThroughTime(args, dgates, dh, dc));
  if (exposes()) {
    HandOut(dh, state_size(), args.bottom_gradient[first_state_bottom()]);
    HandOut(dc, state_size(), args.bottom_gradient[first_state_bottom() + 1]);
  }
  RETURN_IF_ERROR(AffineBackward(
      items, 4 * d, inputs(), args.bottom[0].data(), args.param[0].data(),
      dgates, args.param_gradient[0], args.bottom_gradient[0]));
  const GradientTensor& db = args.param_gradient[1];
  SumRows(dgates, items, 4 * d, db.mode, db.tensor.data());
  if (has_static()) RETURN_IF_ERROR(StaticGradients(args, dgates, sums));
  const int hc = first_recurrent_param();
  return AffineBackward(items, 4 * d, d, conted_.data(), args.param[hc].data(),
                        dgates, args.param_gradient[hc], {});
}

}  // namespace

absl::Status RegisterLstm(LayerRegistry& registry) {
  return registry.Register("LSTM", DeviceType::kCpu, MakeLayer<LstmLayerCpu>);
}

}  // namespace cssp::cpu
