// Sums over contributors and squared norms.
#include <algorithm>
#include <cmath>

#include "common/base/logging.h"
#include "common/optim/simd.h"
#include "common/optim/update_rule.h"

namespace cssp {
namespace {

// Floats summed over all parts before the next ones are touched: the running
// sum stays in the first-level cache whatever the number of parts.
constexpr int64_t kStripe = 2048;

// Lanes of a block's squared norm, see SquaredNormPartials.
constexpr int kLanes = 8;

CSSP_SIMD_CLONES void Scaled(const float* a, float scale, float* out,
                             int64_t n) {
  CSSP_SIMD_LOOP
  for (int64_t i = 0; i < n; ++i) out[i] = a[i] * scale;
}

CSSP_SIMD_CLONES void Added(const float* a, const float* b, float* out,
                            int64_t n) {
  CSSP_SIMD_LOOP
  for (int64_t i = 0; i < n; ++i) out[i] = a[i] + b[i];
}

CSSP_SIMD_CLONES void AddedAndScaled(const float* a, const float* b,
                                     float scale, float* out, int64_t n) {
  CSSP_SIMD_LOOP
  for (int64_t i = 0; i < n; ++i) out[i] = (a[i] + b[i]) * scale;
}

CSSP_SIMD_CLONES void AddScaled(const float* a, float scale, float* out,
                                int64_t n) {
  CSSP_SIMD_LOOP
  for (int64_t i = 0; i < n; ++i) out[i] = out[i] + a[i] * scale;
}

CSSP_SIMD_CLONES double SquaredNorm(const float* v, int64_t n) {
  double lane[kLanes] = {};
  const int64_t whole = n - n % kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    for (int k = 0; k < kLanes; ++k) {
      const double x = v[i + k];
      lane[k] += x * x;
    }
  }
  for (int64_t i = whole; i < n; ++i) {
    const double x = v[i];
    lane[i - whole] += x * x;
  }
  double sum = 0;
  for (int k = 0; k < kLanes; ++k) sum += lane[k];
  return sum;
}

// The last addition carries the scaling; a single part is only scaled.
void SumStripe(absl::Span<const float* const> parts, float scale, int64_t from,
               int64_t n, float* out) {
  const size_t count = parts.size();
  if (count == 1) {
    if (scale == 1 && out == parts[0] + from) return;  // as it is
    return Scaled(parts[0] + from, scale, out, n);
  }
  const float* sum = parts[0] + from;
  for (size_t p = 1; p + 1 < count; ++p) {
    Added(sum, parts[p] + from, out, n);
    sum = out;
  }
  AddedAndScaled(sum, parts[count - 1] + from, scale, out, n);
}

}  // namespace

void SquaredNormPartials(absl::Span<const float> values, int64_t block,
                         std::vector<double>* partials) {
  CHECK_GT(block, 0) << "a norm's block must hold something";
  const int64_t count = values.size();
  for (int64_t from = 0; from < count; from += block)
    partials->push_back(
        SquaredNorm(values.data() + from, std::min(block, count - from)));
}

float ClipFactor(double sum_of_squares, float clip_gradients) {
  if (clip_gradients < 0) return 1;
  const float norm = static_cast<float>(std::sqrt(sum_of_squares));
  return norm > clip_gradients ? clip_gradients / norm : 1;  // NaN: 1
}

void SumParts(absl::Span<const float* const> parts, float scale,
              absl::Span<float> out) {
  CHECK(!parts.empty()) << "a mean of no parts";
  const int64_t count = out.size();
  for (int64_t from = 0; from < count; from += kStripe)
    SumStripe(parts, scale, from, std::min(kStripe, count - from),
              out.data() + from);
}

void WeightedSumParts(absl::Span<const float* const> parts,
                      absl::Span<const float> weights, absl::Span<float> out) {
  CHECK(!parts.empty()) << "a mean of no parts";
  CHECK_EQ(parts.size(), weights.size()) << "one weight per part";
  const int64_t count = out.size();
  for (int64_t from = 0; from < count; from += kStripe) {
    const int64_t n = std::min(kStripe, count - from);
    Scaled(parts[0] + from, weights[0], out.data() + from, n);
    for (size_t p = 1; p < parts.size(); ++p)
      AddScaled(parts[p] + from, weights[p], out.data() + from, n);
  }
}

}  // namespace cssp
