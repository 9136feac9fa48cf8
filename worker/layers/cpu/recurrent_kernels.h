// What the recurrent layers do between their products.
#ifndef CSSP_WORKER_LAYERS_CPU_RECURRENT_KERNELS_H_
#define CSSP_WORKER_LAYERS_CPU_RECURRENT_KERNELS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "worker/net/layer.h"

namespace cssp::cpu {

// out(n,d) = cont(n) * h(n,d); where cont is 0, h may hold anything.
void Continue(int64_t streams, int64_t d, const float* cont, const float* h,
              float* out);

// The gradient of a state behind the last step; `given` may be null: zero.
void StateGradient(const float* given, int64_t n, float* out);

// Hands out a gradient that was computed as a whole.
void HandOut(const float* values, int64_t n, const GradientTensor& out);

// One step of N streams.  `gates` (N, 4D) holds sums and receives what the
// gates let through: s(i), s(f), s(o), tanh(g).  c may be c_prev.
void LstmForward(int64_t streams, int64_t d, const float* cont,
                 const float* c_prev, float* gates, float* c, float* h);

// From `gates` as LstmForward left them.  `dc` and `dh` may be null: zero.
// `dgates` and `dc_prev` are written; dc_prev may be dc, or null.
void LstmBackward(int64_t streams, int64_t d, const float* cont,
                  const float* c_prev, const float* gates, const float* c,
                  const float* dc, const float* dh, float* dgates,
                  float* dc_prev);

// out(m) = W in(m) + b of M items, the sums that enter all steps at once.
absl::Status Affine(int64_t items, int64_t outputs, int64_t inputs,
                    const float* in, const float* weight, const float* bias,
                    float* out);

// The gradients of a product out = W in, given that of out; each obeys its
// mode.
absl::Status AffineBackward(int64_t items, int64_t outputs, int64_t inputs,
                            const float* in, const float* weight,
                            const float* dout, const GradientTensor& dweight,
                            const GradientTensor& din);

// The part of x_static: out(t,n) += W x_static(n) at every step.
// `sums`: N x outputs.
absl::Status AddStatic(int64_t steps, int64_t streams, int64_t outputs,
                       int64_t inputs, const float* x_static,
                       const float* weight, float* sums, float* out);

}  // namespace cssp::cpu

#endif  // CSSP_WORKER_LAYERS_CPU_RECURRENT_KERNELS_H_
