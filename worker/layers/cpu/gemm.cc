#include "worker/layers/cpu/gemm.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "oneapi/dnnl/dnnl.h"
#include "worker/layers/cpu/kernels.h"

namespace cssp::cpu {

absl::Status Gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n,
                  int64_t k, const float* a, const float* b, float beta,
                  float* c) {
  const dnnl_status_t status = dnnl_sgemm(
      transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', m, n, k, 1.0f, a,
      transpose_a ? m : k, b, transpose_b ? k : n, beta, c, n);
  if (status == dnnl_success) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("oneDNN: sgemm of ", m, " x ", k,
                                          " by ", k, " x ", n, " failed (",
                                          status, ")"));
}

void SumRows(const float* a, int64_t rows, int64_t n, GradientMode mode,
             float* out) {
  if (mode == GradientMode::kNone) return;
  constexpr int64_t kColumns = 64;
#pragma omp parallel for schedule(static) if (rows * n >= kParallelElements)
  for (int64_t first = 0; first < n; first += kColumns) {
    const int64_t width = std::min(kColumns, n - first);
    double sums[kColumns] = {};
    for (int64_t i = 0; i < rows; ++i) {
      const float* row = a + i * n + first;
      for (int64_t j = 0; j < width; ++j) sums[j] += row[j];
    }
    for (int64_t j = 0; j < width; ++j) {
      float& target = out[first + j];
      const float sum = static_cast<float>(sums[j]);
      target = mode == GradientMode::kAdd ? target + sum : sum;
    }
  }
}

}  // namespace cssp::cpu
