// AdaGrad:
//   h = h + g * g
//   w = w - r * (g / (sqrt(h) + delta))             where r = rate * lr_mult.
#include <cmath>

#include "common/base/status_macros.h"
#include "common/optim/rules.h"
#include "common/optim/simd.h"

namespace cssp {
namespace {

CSSP_SIMD_CLONES void UpdateAdaGrad(float delta, float rate, const float* in,
                                    float* out, float* h, const float* g,
                                    int64_t n) {
  CSSP_SIMD_LOOP
  for (int64_t i = 0; i < n; ++i) {
    const float squares = h[i] + g[i] * g[i];
    h[i] = squares;
    out[i] = in[i] - rate * (g[i] / (std::sqrt(squares) + delta));
  }
}

// Immutable.
class AdaGradRule final : public UpdateRule {
 public:
  explicit AdaGradRule(float delta) : delta_(delta) {}
  const char* type() const override { return "AdaGrad"; }
  int num_history() const override { return 1; }
  bool linear() const override { return false; }
  void Apply(const UpdateStep& step, const BlobMultipliers& blob,
             absl::Span<const float> weights_in, absl::Span<float> weights_out,
             absl::Span<float* const> history,
             absl::Span<float> gradient) const override {
    CheckSpans(weights_in, weights_out, history, 1, gradient);
    UpdateAdaGrad(delta_, step.rate * blob.lr_mult, weights_in.data(),
                  weights_out.data(), history[0], gradient.data(),
                  gradient.size());
  }

 private:
  const float delta_;
};

}  // namespace

RuleOr MakeAdaGradRule(const caffe::SolverParameter& solver) {
  if (solver.momentum() != 0)
    return absl::InvalidArgumentError(
        "solver: momentum cannot be used with AdaGrad: remove it");
  RETURN_IF_ERROR(CheckRange("delta", solver.delta(), 0, 1e6f));
  return std::make_unique<AdaGradRule>(solver.delta());
}

}  // namespace cssp
