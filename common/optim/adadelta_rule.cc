// AdaDelta; momentum is the decay of both histories:
//   h1 = momentum * h1 + (1 - momentum) * g * g
//   s  = g * sqrt((delta + h2) / (delta + h1))
//   h2 = momentum * h2 + (1 - momentum) * s * s
//   w  = w - r * s                                  where r = rate * lr_mult.
#include <cmath>

#include "common/base/status_macros.h"
#include "common/optim/rules.h"
#include "common/optim/simd.h"

namespace cssp {
namespace {

struct AdaDeltaFactors {
  float momentum;
  float delta;
  float rate;
};

CSSP_SIMD_CLONES void UpdateAdaDelta(AdaDeltaFactors f, const float* in,
                                     float* out, float* h1, float* h2,
                                     const float* g, int64_t n) {
  const float momentum = f.momentum, delta = f.delta, rate = f.rate;
  const float fresh = 1.0f - momentum;
  CSSP_SIMD_LOOP
  for (int64_t i = 0; i < n; ++i) {
    const float gradients = momentum * h1[i] + fresh * (g[i] * g[i]);
    h1[i] = gradients;
    const float step = g[i] * std::sqrt((delta + h2[i]) / (delta + gradients));
    h2[i] = momentum * h2[i] + fresh * (step * step);
    out[i] = in[i] - rate * step;
  }
}

// Immutable.
class AdaDeltaRule final : public UpdateRule {
 public:
  AdaDeltaRule(float momentum, float delta)
      : momentum_(momentum), delta_(delta) {}
  const char* type() const override { return "AdaDelta"; }
  int num_history() const override { return 2; }
  bool linear() const override { return false; }
  void Apply(const UpdateStep& step, const BlobMultipliers& blob,
             absl::Span<const float> weights_in, absl::Span<float> weights_out,
             absl::Span<float* const> history,
             absl::Span<float> gradient) const override {
    CheckSpans(weights_in, weights_out, history, 2, gradient);
    UpdateAdaDelta({momentum_, delta_, step.rate * blob.lr_mult},
                   weights_in.data(), weights_out.data(), history[0],
                   history[1], gradient.data(), gradient.size());
  }

 private:
  const float momentum_;
  const float delta_;
};

}  // namespace

RuleOr MakeAdaDeltaRule(const caffe::SolverParameter& solver) {
  RETURN_IF_ERROR(CheckRange("momentum", solver.momentum(), 0, 1));
  RETURN_IF_ERROR(CheckRange("delta", solver.delta(), 0, 1e6f));
  return std::make_unique<AdaDeltaRule>(solver.momentum(), solver.delta());
}

}  // namespace cssp
