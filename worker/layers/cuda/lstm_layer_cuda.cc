#include <algorithm>

#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/gemm.h"
#include "worker/layers/cuda/recurrent_kernels.h"
#include "worker/layers/cuda/recurrent_layer_cuda.h"
#include "worker/layers/lstm_unit_layer.h"
#include "worker/layers/recurrent_layer.h"

namespace cssp::cuda {
namespace {

// Products with x run over all steps at once, those with h step by step.
// Thread-confined: the training thread.
class LstmLayerCuda final : public CudaLayer<LstmLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override;
  absl::Status Forward(StepContext &step, const ForwardArgs &args) override;
  absl::Status Backward(StepContext &step, const BackwardArgs &args) override;

 private:
  // What Backward needs beside its arguments.
  struct Work {
    float *dgates, *sums, *dh, *dc;
    void *row_sums;
  };
  Work WorkIn(ScratchPieces &pieces) const;
  AffineShape Inputs() const {
    return {steps_ * shape_.streams, 4 * shape_.d, inputs()};
  }
  AffineShape Static() const {
    return {shape_.streams, 4 * shape_.d, static_inputs()};
  }
  float *Cells(int64_t t) const { return cells_.floats() + t * shape_.state(); }
  float *Conted(int64_t t) const {
    return conted_.floats() + t * shape_.state();
  }
  float *Gates(int64_t t) const { return gates_.floats() + t * shape_.gates(); }
  absl::Status Begin(Stream &stream, const ForwardArgs &args);
  absl::Status End(Stream &stream, const ForwardArgs &args);
  absl::Status ThroughTime(Stream &stream, const BackwardArgs &args,
                           const Work &work);
  absl::Status StateGradients(Stream &stream, const BackwardArgs &args,
                              const Work &work);

  int64_t steps_ = 0;
  LstmShape shape_;
  Buffer h_, c_;   // the state that goes on
  Buffer cells_;   // c_0 to c_T
  Buffer conted_;  // cont_t h_(t-1), step by step
  Buffer gates_;   // activated, step by step
};

LstmLayerCuda::Work LstmLayerCuda::WorkIn(ScratchPieces &pieces) const {
  const int64_t items = steps_ * shape_.streams;
  Work work;
  work.dgates = pieces.Floats(steps_ * shape_.gates());
  work.sums = pieces.Floats(shape_.gates());
  work.dh = pieces.Floats(shape_.state());
  work.dc = pieces.Floats(shape_.state());
  work.row_sums = pieces.Bytes(std::max(SumRowsBytes(items, 4 * shape_.d),
                                        SumRowsBytes(steps_, shape_.gates())));
  return work;
}

absl::Status LstmLayerCuda::Bind(absl::Span<const TensorDesc> bottom,
                                 absl::Span<const TensorDesc> top) {
  steps_ = bottom[0].shape.dim(0);
  shape_ = {bottom[0].shape.dim(1), num_output()};
  const size_t state_bytes = shape_.state() * sizeof(float);
  // A new plan does not end the sequences, other streams do.
  if (h_.bytes() != state_bytes) {
    RETURN_IF_ERROR(Allocate(state_bytes, &h_));
    RETURN_IF_ERROR(Allocate(state_bytes, &c_));
  }
  RETURN_IF_ERROR(Allocate((steps_ + 1) * state_bytes, &cells_));
  RETURN_IF_ERROR(Allocate(steps_ * state_bytes, &conted_));
  RETURN_IF_ERROR(Allocate(steps_ * 4 * state_bytes, &gates_));
  ScratchPieces pieces(nullptr);
  WorkIn(pieces);
  set_scratch_bytes(pieces.used());
  return absl::OkStatus();
}

absl::Status LstmLayerCuda::Begin(Stream &stream, const ForwardArgs &args) {
  const int64_t n = shape_.state();
  if (exposes()) {
    const int first = first_state_bottom();
    RETURN_IF_ERROR(Copy(stream, args.bottom[first].data(), n, h_.floats()));
    RETURN_IF_ERROR(
        Copy(stream, args.bottom[first + 1].data(), n, c_.floats()));
  }
  return Copy(stream, c_.floats(), n, Cells(0));
}

absl::Status LstmLayerCuda::End(Stream &stream, const ForwardArgs &args) {
  const int64_t n = shape_.state();
  if (steps_ > 0) {
    RETURN_IF_ERROR(
        Copy(stream, args.top[0].data() + (steps_ - 1) * n, n, h_.floats()));
    RETURN_IF_ERROR(Copy(stream, Cells(steps_), n, c_.floats()));
  }
  if (!exposes()) return absl::OkStatus();
  RETURN_IF_ERROR(Copy(stream, h_.floats(), n, args.top[1].data()));
  return Copy(stream, c_.floats(), n, args.top[2].data());
}

absl::Status LstmLayerCuda::Forward(StepContext &step,
                                    const ForwardArgs &args) {
  Stream &stream = step.stream();
  const int64_t d = shape_.d, n = shape_.state(), streams = shape_.streams;
  const float *w_hc = args.param[first_recurrent_param()].data();
  float *h = args.top[0].data();
  RETURN_IF_ERROR(Begin(stream, args));
  RETURN_IF_ERROR(Affine(stream, Inputs(), args.bottom[0].data(),
                         args.param[0].data(), args.param[1].data(), Gates(0)));
  if (has_static()) {
    ScratchPieces pieces(step.scratch().data());
    RETURN_IF_ERROR(AddStatic(stream, steps_, Static(), args.bottom[2].data(),
                              args.param[2].data(), WorkIn(pieces).sums,
                              Gates(0)));
  }
  for (int64_t t = 0; t < steps_; ++t) {
    const float *cont = args.bottom[1].data() + t * streams;
    RETURN_IF_ERROR(Continue(stream, streams, d, cont,
                             t == 0 ? h_.floats() : h + (t - 1) * n,
                             Conted(t)));
    RETURN_IF_ERROR(Gemm(stream, {false, true, streams, 4 * d, d}, Conted(t),
                         w_hc, 1, Gates(t)));
    RETURN_IF_ERROR(LstmForward(stream, shape_, cont, Cells(t), Gates(t),
                                Cells(t + 1), h + t * n));
  }
  return End(stream, args);
}

// From the last step to the first: the gates' gradients, and dh and dc become
// those of the state before the first.
absl::Status LstmLayerCuda::ThroughTime(Stream &stream,
                                        const BackwardArgs &args,
                                        const Work &work) {
  const int64_t d = shape_.d, n = shape_.state(), streams = shape_.streams;
  const float *dy = args.top_gradient[0].data();
  const float *w_hc = args.param[first_recurrent_param()].data();
  const auto given = [&](int top) {
    return exposes() ? args.top_gradient[top].data() : nullptr;
  };
  RETURN_IF_ERROR(Copy(stream, given(1), n, work.dh));
  RETURN_IF_ERROR(Copy(stream, given(2), n, work.dc));
  for (int64_t t = steps_; t-- > 0;) {
    const float *cont = args.bottom[1].data() + t * streams;
    float *dgates = work.dgates + t * shape_.gates();
    if (dy != nullptr) {
      RETURN_IF_ERROR(AddOnto(stream, dy + t * n, n, work.dh));
    }
    RETURN_IF_ERROR(LstmBackward(stream, shape_,
                                 {cont, Cells(t), Gates(t), Cells(t + 1)},
                                 work.dc, work.dh, dgates, work.dc));
    RETURN_IF_ERROR(Gemm(stream, {false, false, streams, d, 4 * d}, dgates,
                         w_hc, 0, work.dh));
    RETURN_IF_ERROR(Continue(stream, streams, d, cont, work.dh, work.dh));
  }
  return absl::OkStatus();
}

absl::Status LstmLayerCuda::StateGradients(Stream &stream,
                                           const BackwardArgs &args,
                                           const Work &work) {
  if (!exposes()) return absl::OkStatus();
  const int first = first_state_bottom();
  RETURN_IF_ERROR(
      HandOut(stream, work.dh, shape_.state(), args.bottom_gradient[first]));
  return HandOut(stream, work.dc, shape_.state(),
                 args.bottom_gradient[first + 1]);
}

absl::Status LstmLayerCuda::Backward(StepContext &step,
                                     const BackwardArgs &args) {
  Stream &stream = step.stream();
  const int64_t d = shape_.d, items = steps_ * shape_.streams;
  ScratchPieces pieces(step.scratch().data());
  const Work work = WorkIn(pieces);
  RETURN_IF_ERROR(ThroughTime(stream, args, work));
  RETURN_IF_ERROR(StateGradients(stream, args, work));
  RETURN_IF_ERROR(AffineBackward(
      stream, Inputs(), args.bottom[0].data(), args.param[0].data(),
      work.dgates, args.param_gradient[0], args.bottom_gradient[0]));
  RETURN_IF_ERROR(SumRows(stream, work.dgates, items, 4 * d,
                          args.param_gradient[1], work.row_sums));
  if (has_static()) {
    RETURN_IF_ERROR(SumRows(stream, work.dgates, steps_, shape_.gates(),
                            WriteTo(work.sums), work.row_sums));
    RETURN_IF_ERROR(AffineBackward(
        stream, Static(), args.bottom[2].data(), args.param[2].data(),
        work.sums, args.param_gradient[2], args.bottom_gradient[2]));
  }
  const int hc = first_recurrent_param();
  return AffineBackward(stream, {items, 4 * d, d}, Conted(0),
                        args.param[hc].data(), work.dgates,
                        args.param_gradient[hc], {});
}

// Keeps the activated gates from Forward to Backward.
// Thread-confined: the training thread.
class LstmUnitLayerCuda final : public CudaLayer<LstmUnitLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    shape_ = {bottom[0].shape.dim(1), bottom[0].shape.dim(2)};
    set_scratch_bytes((shape_.gates() + shape_.state()) * sizeof(float));
    return Allocate(shape_.gates() * sizeof(float), &gates_);
  }

  absl::Status Forward(StepContext &step, const ForwardArgs &args) override {
    RETURN_IF_ERROR(Copy(step.stream(), args.bottom[1].data(), shape_.gates(),
                         gates_.floats()));
    return LstmForward(step.stream(), shape_, args.bottom[2].data(),
                       args.bottom[0].data(), gates_.floats(),
                       args.top[0].data(), args.top[1].data());
  }

  absl::Status Backward(StepContext &step, const BackwardArgs &args) override {
    float *dgates = reinterpret_cast<float *>(step.scratch().data());
    float *dc_prev = dgates + shape_.gates();
    RETURN_IF_ERROR(LstmBackward(step.stream(), shape_,
                                 {args.bottom[2].data(), args.bottom[0].data(),
                                  gates_.floats(), args.top[0].data()},
                                 args.top_gradient[0].data(),
                                 args.top_gradient[1].data(), dgates, dc_prev));
    RETURN_IF_ERROR(HandOut(step.stream(), dc_prev, shape_.state(),
                            args.bottom_gradient[0]));
    return HandOut(step.stream(), dgates, shape_.gates(),
                   args.bottom_gradient[1]);
  }

 private:
  LstmShape shape_;
  Buffer gates_;
};

}  // namespace

absl::Status RegisterLstm(LayerRegistry &registry) {
  RETURN_IF_ERROR(registry.Register("LSTM", DeviceType::kCuda,
                                    MakeCudaLayer<LstmLayerCuda>));
  return registry.Register("LSTMUnit", DeviceType::kCuda,
                           MakeCudaLayer<LstmUnitLayerCuda>);
}

}  // namespace cssp::cuda
