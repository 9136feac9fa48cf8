#include "common/base/status_macros.h"
#include "worker/layers/cuda/gemm.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/cuda/recurrent_kernels.h"
#include "worker/layers/cuda/reduce.cuh"
#include "worker/layers/neuron_functions.h"

namespace cssp::cuda {
namespace {

__device__ float Logistic(float x) { return SigmoidFunction().Value(x); }
__device__ float OrZero(const float *values, int64_t i) {
  return values == nullptr ? 0.0f : values[i];
}

}  // namespace

absl::Status Continue(Stream &stream, int64_t streams, int64_t d,
                      const float *cont, const float *h, float *out) {
  return Fill(stream, out, streams * d, [=] __device__(int64_t i) {
    const float factor = cont[i / d];
    return factor == 0 ? 0.0f : factor * h[i];
  });
}

absl::Status HandOut(Stream &stream, const float *values, int64_t n,
                     const GradientTensor &out) {
  return Store(stream, out.mode, out.tensor.data(), n,
               [=] __device__(int64_t i) { return OrZero(values, i); });
}

absl::Status Copy(Stream &stream, const float *values, int64_t n, float *out) {
  return Fill(stream, out, n,
              [=] __device__(int64_t i) { return OrZero(values, i); });
}

absl::Status AddOnto(Stream &stream, const float *values, int64_t n,
                     float *out) {
  return Store(stream, GradientMode::kAdd, out, n,
               [=] __device__(int64_t i) { return values[i]; });
}

absl::Status Tanh(Stream &stream, int64_t n, float *values) {
  return Fill(stream, values, n,
              [=] __device__(int64_t i) { return tanhf(values[i]); });
}

absl::Status TanhGradient(Stream &stream, int64_t n, const float *y,
                          const float *a, const float *b, float *out) {
  return Fill(stream, out, n, [=] __device__(int64_t i) {
    return (OrZero(a, i) + OrZero(b, i)) * (1 - y[i] * y[i]);
  });
}

absl::Status LstmForward(Stream &stream, const LstmShape &shape,
                         const float *cont, const float *c_prev, float *gates,
                         float *c, float *h) {
  const int64_t d = shape.d;
  return ForEach(stream, shape.state(), [=] __device__(int64_t at) {
    const int64_t n = at / d;
    float *gate = gates + n * 4 * d + at % d;
    const float i = Logistic(gate[0]), f = Logistic(gate[d]);
    const float o = Logistic(gate[2 * d]), g = tanhf(gate[3 * d]);
    const float kept = cont[n] == 0 ? 0.0f : cont[n] * f * c_prev[at];
    gate[0] = i;
    gate[d] = f;
    gate[2 * d] = o;
    gate[3 * d] = g;
    c[at] = kept + i * g;
    h[at] = o * tanhf(c[at]);
  });
}

absl::Status LstmBackward(Stream &stream, const LstmShape &shape,
                          const LstmStep &step, const float *dc,
                          const float *dh, float *dgates, float *dc_prev) {
  const int64_t d = shape.d;
  return ForEach(stream, shape.state(), [=] __device__(int64_t at) {
    const int64_t n = at / d;
    const float *gate = step.gates + n * 4 * d + at % d;
    float *dgate = dgates + n * 4 * d + at % d;
    const float i = gate[0], f = gate[d], o = gate[2 * d], g = gate[3 * d];
    const float cont = step.cont[n], tanh_c = tanhf(step.c[at]);
    const float from_h = OrZero(dh, at);
    const float from_c = OrZero(dc, at) + from_h * o * (1 - tanh_c * tanh_c);
    // The cell as it was continued.
    const float before = cont == 0 ? 0.0f : cont * step.c_prev[at];
    dgate[0] = from_c * g * i * (1 - i);
    dgate[d] = from_c * before * f * (1 - f);
    dgate[2 * d] = from_h * tanh_c * o * (1 - o);
    dgate[3 * d] = from_c * i * (1 - g * g);
    dc_prev[at] = from_c * cont * f;
  });
}

absl::Status Affine(Stream &stream, const AffineShape &s, const float *in,
                    const float *weight, const float *bias, float *out) {
  const int64_t outputs = s.outputs;
  RETURN_IF_ERROR(
      Fill(stream, out, s.items * outputs,
           [=] __device__(int64_t i) { return bias[i % outputs]; }));
  return Gemm(stream, {false, true, s.items, outputs, s.inputs}, in, weight, 1,
              out);
}

absl::Status AffineBackward(Stream &stream, const AffineShape &s,
                            const float *in, const float *weight,
                            const float *dout, const GradientTensor &dweight,
                            const GradientTensor &din) {
  if (dweight.mode != GradientMode::kNone) {
    RETURN_IF_ERROR(Gemm(stream, {true, false, s.outputs, s.inputs, s.items},
                         dout, in, Beta(dweight.mode), dweight.tensor.data()));
  }
  if (din.mode == GradientMode::kNone) return absl::OkStatus();
  return Gemm(stream, {false, false, s.items, s.inputs, s.outputs}, dout,
              weight, Beta(din.mode), din.tensor.data());
}

size_t SumRowsBytes(int64_t rows, int64_t n) {
  return ChannelSumPlan({rows, n, 1}).scratch_bytes();
}

absl::Status SumRows(Stream &stream, const float *a, int64_t rows, int64_t n,
                     const GradientTensor &out, void *sums) {
  if (out.mode == GradientMode::kNone) return absl::OkStatus();
  const Slot slot = Slot::Of(out);
  return SumChannels<double>(
      stream, {rows, n, 1}, sums,
      [=] __device__(int64_t i, int64_t) { return double{a[i]}; },
      [=] __device__(int64_t j, double sum) {
        slot.Put(j, static_cast<float>(sum));
      });
}

absl::Status AddStatic(Stream &stream, int64_t steps, const AffineShape &s,
                       const float *x_static, const float *weight, float *sums,
                       float *out) {
  RETURN_IF_ERROR(Gemm(stream, {false, true, s.items, s.outputs, s.inputs},
                       x_static, weight, 0, sums));
  const int64_t step = s.items * s.outputs;
  return Store(stream, GradientMode::kAdd, out, steps * step,
               [=] __device__(int64_t i) { return sums[i % step]; });
}

}  // namespace cssp::cuda
