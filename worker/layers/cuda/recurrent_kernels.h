// What the recurrent layers do between their products.
#ifndef CSSP_WORKER_LAYERS_CUDA_RECURRENT_KERNELS_H_
#define CSSP_WORKER_LAYERS_CUDA_RECURRENT_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "worker/net/layer.h"

namespace cssp::cuda {

// out(n,d) = cont(n) * h(n,d); where cont is 0, h may hold anything.
absl::Status Continue(Stream &stream, int64_t streams, int64_t d,
                      const float *cont, const float *h, float *out);

// out = or += values; null values: zeros.
absl::Status HandOut(Stream &stream, const float *values, int64_t n,
                     const GradientTensor &out);
absl::Status Copy(Stream &stream, const float *values, int64_t n, float *out);
absl::Status AddOnto(Stream &stream, const float *values, int64_t n,
                     float *out);

absl::Status Tanh(Stream &stream, int64_t n, float *values);
// out = (a + b) * (1 - y^2), y the tanh; null a or b: zeros.  out may be a.
absl::Status TanhGradient(Stream &stream, int64_t n, const float *y,
                          const float *a, const float *b, float *out);

// N streams of D cells.
struct LstmShape {
  int64_t streams = 0, d = 0;
  int64_t state() const { return streams * d; }
  int64_t gates() const { return 4 * state(); }
};

// One step.  `gates` (N, 4D) holds sums and receives what the gates let
// through: s(i), s(f), s(o), tanh(g).
absl::Status LstmForward(Stream &stream, const LstmShape &shape,
                         const float *cont, const float *c_prev, float *gates,
                         float *c, float *h);

// What LstmForward read and left.
struct LstmStep {
  const float *cont, *c_prev, *gates, *c;
};
// dc and dh may be null: zero.  dc_prev may be dc.
absl::Status LstmBackward(Stream &stream, const LstmShape &shape,
                          const LstmStep &step, const float *dc,
                          const float *dh, float *dgates, float *dc_prev);

// A product out(m) = W in(m) of `items` rows.
struct AffineShape {
  int64_t items = 0, outputs = 0, inputs = 0;
};
// out = W in + b.
absl::Status Affine(Stream &stream, const AffineShape &shape, const float *in,
                    const float *weight, const float *bias, float *out);
// The gradients, given that of out; each obeys its mode.
absl::Status AffineBackward(Stream &stream, const AffineShape &shape,
                            const float *in, const float *weight,
                            const float *dout, const GradientTensor &dweight,
                            const GradientTensor &din);

// out(j) = or += sum over i of a(i,j), a of `rows` x n.  `sums`: of
// SumRowsBytes.
size_t SumRowsBytes(int64_t rows, int64_t n);
absl::Status SumRows(Stream &stream, const float *a, int64_t rows, int64_t n,
                     const GradientTensor &out, void *sums);

// The part of x_static (N, inputs): out(t,n) += W x_static(n) at every step.
// `sums`: N x outputs.
absl::Status AddStatic(Stream &stream, int64_t steps, const AffineShape &shape,
                       const float *x_static, const float *weight, float *sums,
                       float *out);

}  // namespace cssp::cuda

#endif  // CSSP_WORKER_LAYERS_CUDA_RECURRENT_KERNELS_H_
