#include <algorithm>
#include <cmath>
#include <vector>

#include "common/base/status_macros.h"
#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/gemm.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/cpu/recurrent_kernels.h"
#include "worker/layers/recurrent_layer.h"

namespace cssp::cpu {
namespace {

void Tanh(float* values, int64_t n) {
  Fill(values, n, [=](int64_t i) { return std::tanh(values[i]); });
}

// Products with x and into the top run over all steps at once, those with h
// step by step.  Thread-confined: the training thread.
class RnnLayerCpu final : public RnnLayer {
 public:
  using RnnLayer::RnnLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override;
  absl::Status Forward(StepContext& step, const ForwardArgs& args) override;
  absl::Status Backward(StepContext& step, const BackwardArgs& args) override;

 private:
  int64_t state_size() const { return streams_ * num_output(); }
  int w_hh() const { return first_recurrent_param(); }
  int w_ho() const { return first_recurrent_param() + 1; }
  int b_o() const { return first_recurrent_param() + 2; }

  absl::Status OutputGradients(const BackwardArgs& args, float* dout,
                               float* dhidden);
  absl::Status ThroughTime(const BackwardArgs& args, float* dsums, float* dh);
  absl::Status InputGradients(const BackwardArgs& args, const float* dsums,
                              float* static_sums);

  int64_t steps_ = 0, streams_ = 0;
  std::vector<float> h_;       // the state that goes on
  std::vector<float> hidden_;  // h_1 to h_T
  std::vector<float> conted_;  // cont_t h_(t-1), step by step
};

absl::Status RnnLayerCpu::Bind(absl::Span<const TensorDesc> bottom,
                               absl::Span<const TensorDesc> top) {
  steps_ = bottom[0].shape.dim(0);
  streams_ = bottom[0].shape.dim(1);
  // A new plan does not end the sequences, other streams do.
  if (static_cast<int64_t>(h_.size()) != state_size()) {
    h_.assign(state_size(), 0.0f);
  }
  hidden_.assign(steps_ * state_size(), 0.0f);
  conted_.assign(steps_ * state_size(), 0.0f);
  // Backward: the gradients of the top's and of the hidden sums, and dh.
  scratch_bytes_ = (2 * steps_ + 1) * state_size() * sizeof(float);
  return absl::OkStatus();
}

absl::Status RnnLayerCpu::Forward(StepContext& step, const ForwardArgs& args) {
  const int64_t d = num_output(), n = state_size(), items = steps_ * streams_;
  float* hidden = hidden_.data();
  if (exposes()) {
    std::copy_n(args.bottom[first_state_bottom()].data(), n, h_.data());
  }
  RETURN_IF_ERROR(Affine(items, d, inputs(), args.bottom[0].data(),
                         args.param[0].data(), args.param[1].data(), hidden));
  if (has_static()) {
    RETURN_IF_ERROR(AddStatic(steps_, streams_, d, static_inputs(),
                              args.bottom[2].data(), args.param[2].data(),
                              reinterpret_cast<float*>(step.scratch().data()),
                              hidden));
  }
  for (int64_t t = 0; t < steps_; ++t) {
    Continue(streams_, d, args.bottom[1].data() + t * streams_,
             t == 0 ? h_.data() : hidden + (t - 1) * n, &conted_[t * n]);
    RETURN_IF_ERROR(Gemm(false, true, streams_, d, d, &conted_[t * n],
                         args.param[w_hh()].data(), 1, hidden + t * n));
    Tanh(hidden + t * n, n);
  }
  if (steps_ > 0) std::copy_n(hidden + (steps_ - 1) * n, n, h_.data());
  if (exposes()) std::copy_n(h_.data(), n, args.top[1].data());
  RETURN_IF_ERROR(Affine(items, d, d, hidden, args.param[w_ho()].data(),
                         args.param[b_o()].data(), args.top[0].data()));
  Tanh(args.top[0].data(), items * d);
  return absl::OkStatus();
}

// From the top to h_1 ... h_T, each as if no later step used it.
absl::Status RnnLayerCpu::OutputGradients(const BackwardArgs& args, float* dout,
                                          float* dhidden) {
  const int64_t d = num_output(), items = steps_ * streams_;
  const float* o = args.top[0].data();
  const float* dy = args.top_gradient[0].data();
  Fill(dout, items * d, [=](int64_t i) {
    return dy == nullptr ? 0 : dy[i] * (1 - o[i] * o[i]);
  });
  const GradientTensor& bias = args.param_gradient[b_o()];
  SumRows(dout, items, d, bias.mode, bias.tensor.data());
  RETURN_IF_ERROR(AffineBackward(items, d, d, hidden_.data(),
                                 args.param[w_ho()].data(), dout,
                                 args.param_gradient[w_ho()], {}));
  return Gemm(false, false, items, d, d, dout, args.param[w_ho()].data(), 0,
              dhidden);
}

// From the last step to the first: gradients of h become those of the sums
// under its tanh, and dh that of the state before the first.
absl::Status RnnLayerCpu::ThroughTime(const BackwardArgs& args, float* dsums,
                                      float* dh) {
  const int64_t d = num_output(), n = state_size();
  StateGradient(exposes() ? args.top_gradient[1].data() : nullptr, n, dh);
  for (int64_t t = steps_; t-- > 0;) {
    float* dsums_t = dsums + t * n;
    const float* h = &hidden_[t * n];
    Fill(dsums_t, n,
         [=](int64_t i) { return (dsums_t[i] + dh[i]) * (1 - h[i] * h[i]); });
    RETURN_IF_ERROR(Gemm(false, false, streams_, d, d, dsums_t,
                         args.param[w_hh()].data(), 0, dh));
    Continue(streams_, d, args.bottom[1].data() + t * streams_, dh, dh);
  }
  if (!exposes()) return absl::OkStatus();
  HandOut(dh, n, args.bottom_gradient[first_state_bottom()]);
  return absl::OkStatus();
}

absl::Status RnnLayerCpu::InputGradients(const BackwardArgs& args,
                                         const float* dsums,
                                         float* static_sums) {
  const int64_t d = num_output(), items = steps_ * streams_;
  RETURN_IF_ERROR(AffineBackward(
      items, d, inputs(), args.bottom[0].data(), args.param[0].data(), dsums,
      args.param_gradient[0], args.bottom_gradient[0]));
  const GradientTensor& bias = args.param_gradient[1];
  SumRows(dsums, items, d, bias.mode, bias.tensor.data());
  if (!has_static()) return absl::OkStatus();
  SumRows(dsums, steps_, state_size(), GradientMode::kWrite, static_sums);
  return AffineBackward(streams_, d, static_inputs(), args.bottom[2].data(),
                        args.param[2].data(), static_sums,
                        args.param_gradient[2], args.bottom_gradient[2]);
}

absl::Status RnnLayerCpu::Backward(StepContext& step,
                                   const BackwardArgs& args) {
  const int64_t d = num_output(), all = steps_ * state_size();
  float* dout = reinterpret_cast<float*>(step.scratch().data());
  float* dsums = dout + all;
  float* dh = dsums + all;
  RETURN_IF_ERROR(OutputGradients(args, dout, dsums));
  RETURN_IF_ERROR(ThroughTime(args, dsums, dh));
  RETURN_IF_ERROR(InputGradients(args, dsums, dh));
  return AffineBackward(steps_ * streams_, d, d, conted_.data(),
                        args.param[w_hh()].data(), dsums,
                        args.param_gradient[w_hh()], {});
}

}  // namespace

absl::Status RegisterRnn(LayerRegistry& registry) {
  return registry.Register("RNN", DeviceType::kCpu, MakeLayer<RnnLayerCpu>);
}

}  // namespace cssp::cpu
