#include <algorithm>

#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/gemm.h"
#include "worker/layers/cuda/recurrent_kernels.h"
#include "worker/layers/cuda/recurrent_layer_cuda.h"
#include "worker/layers/recurrent_layer.h"

namespace cssp::cuda {
namespace {

// Products with x and into the top run over all steps at once, those with h
// step by step.  Thread-confined: the training thread.
class RnnLayerCuda final : public CudaLayer<RnnLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override;
  absl::Status Forward(StepContext &step, const ForwardArgs &args) override;
  absl::Status Backward(StepContext &step, const BackwardArgs &args) override;

 private:
  // What Backward needs beside its arguments; dh serves Forward's static sums,
  // too.
  struct Work {
    float *dout, *dsums, *dh;
    void *row_sums;
  };
  Work WorkIn(ScratchPieces &pieces) const {
    Work work;
    work.dout = pieces.Floats(steps_ * state_size());
    work.dsums = pieces.Floats(steps_ * state_size());
    work.dh = pieces.Floats(state_size());
    work.row_sums = pieces.Bytes(std::max(SumRowsBytes(items(), num_output()),
                                          SumRowsBytes(steps_, state_size())));
    return work;
  }
  int64_t state_size() const { return streams_ * num_output(); }
  int64_t items() const { return steps_ * streams_; }
  int w_hh() const { return first_recurrent_param(); }
  int w_ho() const { return first_recurrent_param() + 1; }
  int b_o() const { return first_recurrent_param() + 2; }
  AffineShape Inputs() const { return {items(), num_output(), inputs()}; }
  AffineShape Square() const { return {items(), num_output(), num_output()}; }
  AffineShape Static() const {
    return {streams_, num_output(), static_inputs()};
  }

  absl::Status OutputGradients(Stream &stream, const BackwardArgs &args,
                               const Work &work);
  absl::Status ThroughTime(Stream &stream, const BackwardArgs &args,
                           const Work &work);
  absl::Status InputGradients(Stream &stream, const BackwardArgs &args,
                              const Work &work);

  int64_t steps_ = 0, streams_ = 0;
  Buffer h_;       // the state that goes on
  Buffer hidden_;  // h_1 to h_T
  Buffer conted_;  // cont_t h_(t-1), step by step
};

absl::Status RnnLayerCuda::Bind(absl::Span<const TensorDesc> bottom,
                                absl::Span<const TensorDesc> top) {
  steps_ = bottom[0].shape.dim(0);
  streams_ = bottom[0].shape.dim(1);
  const size_t state_bytes = state_size() * sizeof(float);
  // A new plan does not end the sequences, other streams do.
  if (h_.bytes() != state_bytes) RETURN_IF_ERROR(Allocate(state_bytes, &h_));
  RETURN_IF_ERROR(Allocate(steps_ * state_bytes, &hidden_));
  RETURN_IF_ERROR(Allocate(steps_ * state_bytes, &conted_));
  ScratchPieces pieces(nullptr);
  WorkIn(pieces);
  set_scratch_bytes(pieces.used());
  return absl::OkStatus();
}

absl::Status RnnLayerCuda::Forward(StepContext &step, const ForwardArgs &args) {
  Stream &stream = step.stream();
  const int64_t d = num_output(), n = state_size();
  float *hidden = hidden_.floats();
  if (exposes()) {
    RETURN_IF_ERROR(
        Copy(stream, args.bottom[first_state_bottom()].data(), n, h_.floats()));
  }
  RETURN_IF_ERROR(Affine(stream, Inputs(), args.bottom[0].data(),
                         args.param[0].data(), args.param[1].data(), hidden));
  if (has_static()) {
    ScratchPieces pieces(step.scratch().data());
    RETURN_IF_ERROR(AddStatic(stream, steps_, Static(), args.bottom[2].data(),
                              args.param[2].data(), WorkIn(pieces).dh, hidden));
  }
  for (int64_t t = 0; t < steps_; ++t) {
    float *conted = conted_.floats() + t * n;
    RETURN_IF_ERROR(
        Continue(stream, streams_, d, args.bottom[1].data() + t * streams_,
                 t == 0 ? h_.floats() : hidden + (t - 1) * n, conted));
    RETURN_IF_ERROR(Gemm(stream, {false, true, streams_, d, d}, conted,
                         args.param[w_hh()].data(), 1, hidden + t * n));
    RETURN_IF_ERROR(Tanh(stream, n, hidden + t * n));
  }
  if (steps_ > 0) {
    RETURN_IF_ERROR(Copy(stream, hidden + (steps_ - 1) * n, n, h_.floats()));
  }
  if (exposes()) {
    RETURN_IF_ERROR(Copy(stream, h_.floats(), n, args.top[1].data()));
  }
  RETURN_IF_ERROR(Affine(stream, Square(), hidden, args.param[w_ho()].data(),
                         args.param[b_o()].data(), args.top[0].data()));
  return Tanh(stream, items() * d, args.top[0].data());
}

// From the top to h_1 ... h_T, each as if no later step used it.
absl::Status RnnLayerCuda::OutputGradients(Stream &stream,
                                           const BackwardArgs &args,
                                           const Work &work) {
  const int64_t d = num_output();
  const float *w = args.param[w_ho()].data();
  RETURN_IF_ERROR(TanhGradient(stream, items() * d, args.top[0].data(),
                               args.top_gradient[0].data(), nullptr,
                               work.dout));
  RETURN_IF_ERROR(SumRows(stream, work.dout, items(), d,
                          args.param_gradient[b_o()], work.row_sums));
  RETURN_IF_ERROR(AffineBackward(stream, Square(), hidden_.floats(), w,
                                 work.dout, args.param_gradient[w_ho()], {}));
  return Gemm(stream, {false, false, items(), d, d}, work.dout, w, 0,
              work.dsums);
}

// From the last step to the first: gradients of h become those of the sums
// under its tanh, and dh that of the state before the first.
absl::Status RnnLayerCuda::ThroughTime(Stream &stream, const BackwardArgs &args,
                                       const Work &work) {
  const int64_t d = num_output(), n = state_size();
  RETURN_IF_ERROR(Copy(
      stream, exposes() ? args.top_gradient[1].data() : nullptr, n, work.dh));
  for (int64_t t = steps_; t-- > 0;) {
    float *dsums = work.dsums + t * n;
    RETURN_IF_ERROR(TanhGradient(stream, n, hidden_.floats() + t * n, dsums,
                                 work.dh, dsums));
    RETURN_IF_ERROR(Gemm(stream, {false, false, streams_, d, d}, dsums,
                         args.param[w_hh()].data(), 0, work.dh));
    RETURN_IF_ERROR(Continue(stream, streams_, d,
                             args.bottom[1].data() + t * streams_, work.dh,
                             work.dh));
  }
  if (!exposes()) return absl::OkStatus();
  return HandOut(stream, work.dh, n,
                 args.bottom_gradient[first_state_bottom()]);
}

absl::Status RnnLayerCuda::InputGradients(Stream &stream,
                                          const BackwardArgs &args,
                                          const Work &work) {
  RETURN_IF_ERROR(AffineBackward(
      stream, Inputs(), args.bottom[0].data(), args.param[0].data(), work.dsums,
      args.param_gradient[0], args.bottom_gradient[0]));
  RETURN_IF_ERROR(SumRows(stream, work.dsums, items(), num_output(),
                          args.param_gradient[1], work.row_sums));
  if (!has_static()) return absl::OkStatus();
  RETURN_IF_ERROR(SumRows(stream, work.dsums, steps_, state_size(),
                          WriteTo(work.dh), work.row_sums));
  return AffineBackward(stream, Static(), args.bottom[2].data(),
                        args.param[2].data(), work.dh, args.param_gradient[2],
                        args.bottom_gradient[2]);
}

absl::Status RnnLayerCuda::Backward(StepContext &step,
                                    const BackwardArgs &args) {
  Stream &stream = step.stream();
  ScratchPieces pieces(step.scratch().data());
  const Work work = WorkIn(pieces);
  RETURN_IF_ERROR(OutputGradients(stream, args, work));
  RETURN_IF_ERROR(ThroughTime(stream, args, work));
  RETURN_IF_ERROR(InputGradients(stream, args, work));
  return AffineBackward(stream, Square(), conted_.floats(),
                        args.param[w_hh()].data(), work.dsums,
                        args.param_gradient[w_hh()], {});
}

}  // namespace

absl::Status RegisterRnn(LayerRegistry &registry) {
  return registry.Register("RNN", DeviceType::kCuda,
                           MakeCudaLayer<RnnLayerCuda>);
}

}  // namespace cssp::cuda
