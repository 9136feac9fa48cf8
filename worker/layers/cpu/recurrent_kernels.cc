#include "worker/layers/cpu/recurrent_kernels.h"

#include <algorithm>
#include <cmath>

#include "common/base/status_macros.h"
#include "worker/layers/cpu/gemm.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/neuron_functions.h"

namespace cssp::cpu {
namespace {

float Logistic(float x) { return SigmoidFunction().Value(x); }

}  // namespace

void Continue(int64_t streams, int64_t d, const float* cont, const float* h,
              float* out) {
  Fill(out, streams * d, [=](int64_t i) {
    const float factor = cont[i / d];
    return factor == 0 ? 0.0f : factor * h[i];
  });
}

void StateGradient(const float* given, int64_t n, float* out) {
  Fill(out, n, [=](int64_t i) { return given == nullptr ? 0.0f : given[i]; });
}

void HandOut(const float* values, int64_t n, const GradientTensor& out) {
  Store(out.mode, out.tensor.data(), n, [=](int64_t i) { return values[i]; });
}

void LstmForward(int64_t streams, int64_t d, const float* cont,
                 const float* c_prev, float* gates, float* c, float* h) {
#pragma omp parallel for schedule(static) if (streams * d >= kParallelElements)
  for (int64_t n = 0; n < streams; ++n) {
    float* gate = gates + n * 4 * d;
    for (int64_t j = 0; j < d; ++j) {
      const float i = Logistic(gate[j]), f = Logistic(gate[d + j]);
      const float o = Logistic(gate[2 * d + j]);
      const float g = std::tanh(gate[3 * d + j]);
      const int64_t at = n * d + j;
      const float kept = cont[n] == 0 ? 0 : cont[n] * f * c_prev[at];
      gate[j] = i;
      gate[d + j] = f;
      gate[2 * d + j] = o;
      gate[3 * d + j] = g;
      c[at] = kept + i * g;
      h[at] = o * std::tanh(c[at]);
    }
  }
}

void LstmBackward(int64_t streams, int64_t d, const float* cont,
                  const float* c_prev, const float* gates, const float* c,
                  const float* dc, const float* dh, float* dgates,
                  float* dc_prev) {
#pragma omp parallel for schedule(static) if (streams * d >= kParallelElements)
  for (int64_t n = 0; n < streams; ++n) {
    const float* gate = gates + n * 4 * d;
    float* dgate = dgates + n * 4 * d;
    for (int64_t j = 0; j < d; ++j) {
      const int64_t at = n * d + j;
      const float i = gate[j], f = gate[d + j];
      const float o = gate[2 * d + j], g = gate[3 * d + j];
      const float tanh_c = std::tanh(c[at]);
      const float from_h = dh == nullptr ? 0 : dh[at];
      const float from_c =
          (dc == nullptr ? 0 : dc[at]) + from_h * o * (1 - tanh_c * tanh_c);
      // The cell as it was continued.
      const float before = cont[n] == 0 ? 0 : cont[n] * c_prev[at];
      dgate[j] = from_c * g * i * (1 - i);
      dgate[d + j] = from_c * before * f * (1 - f);
      dgate[2 * d + j] = from_h * tanh_c * o * (1 - o);
      dgate[3 * d + j] = from_c * i * (1 - g * g);
      if (dc_prev != nullptr) dc_prev[at] = from_c * cont[n] * f;
    }
  }
}

absl::Status Affine(int64_t items, int64_t outputs, int64_t inputs,
                    const float* in, const float* weight, const float* bias,
                    float* out) {
  for (int64_t m = 0; m < items; ++m) {
    std::copy_n(bias, outputs, out + m * outputs);
  }
  return Gemm(false, true, items, outputs, inputs, in, weight, 1, out);
}

absl::Status AffineBackward(int64_t items, int64_t outputs, int64_t inputs,
                            const float* in, const float* weight,
                            const float* dout, const GradientTensor& dweight,
                            const GradientTensor& din) {
  if (dweight.mode != GradientMode::kNone) {
    RETURN_IF_ERROR(Gemm(true, false, outputs, inputs, items, dout, in,
                         Beta(dweight.mode), dweight.tensor.data()));
  }
  if (din.mode == GradientMode::kNone) return absl::OkStatus();
  return Gemm(false, false, items, inputs, outputs, dout, weight,
              Beta(din.mode), din.tensor.data());
}

absl::Status AddStatic(int64_t steps, int64_t streams, int64_t outputs,
                       int64_t inputs, const float* x_static,
                       const float* weight, float* sums, float* out) {
  RETURN_IF_ERROR(
      Gemm(false, true, streams, outputs, inputs, x_static, weight, 0, sums));
  const int64_t step = streams * outputs;
  for (int64_t t = 0; t < steps; ++t) AddOnto(out + t * step, sums, step);
  return absl::OkStatus();
}

}  // namespace cssp::cpu
