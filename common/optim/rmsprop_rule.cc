// RMSProp:
//   h = rms_decay * h + (1 - rms_decay) * g * g
//   w = w - r * (g / (sqrt(h) + delta))             where r = rate * lr_mult.
#include <cmath>

#include "common/base/status_macros.h"
#include "common/optim/rules.h"
#include "common/optim/simd.h"

namespace cssp {
namespace {

struct RmsPropFactors {
  float decay;
  float delta;
  float rate;
};

CSSP_SIMD_CLONES void UpdateRmsProp(RmsPropFactors f, const float* in,
                                    float* out, float* h, const float* g,
                                    int64_t n) {
  const float decay = f.decay, delta = f.delta, rate = f.rate;
  const float fresh = 1.0f - decay;
  CSSP_SIMD_LOOP
  for (int64_t i = 0; i < n; ++i) {
    const float squares = decay * h[i] + fresh * (g[i] * g[i]);
    h[i] = squares;
    out[i] = in[i] - rate * (g[i] / (std::sqrt(squares) + delta));
  }
}

// Immutable.
class RmsPropRule final : public UpdateRule {
 public:
  RmsPropRule(float decay, float delta) : decay_(decay), delta_(delta) {}
  const char* type() const override { return "RMSProp"; }
  int num_history() const override { return 1; }
  bool linear() const override { return false; }
  void Apply(const UpdateStep& step, const BlobMultipliers& blob,
             absl::Span<const float> weights_in, absl::Span<float> weights_out,
             absl::Span<float* const> history,
             absl::Span<float> gradient) const override {
    CheckSpans(weights_in, weights_out, history, 1, gradient);
    UpdateRmsProp({decay_, delta_, step.rate * blob.lr_mult}, weights_in.data(),
                  weights_out.data(), history[0], gradient.data(),
                  gradient.size());
  }

 private:
  const float decay_;
  const float delta_;
};

}  // namespace

RuleOr MakeRmsPropRule(const caffe::SolverParameter& solver) {
  if (solver.momentum() != 0)
    return absl::InvalidArgumentError(
        "solver: momentum cannot be used with RMSProp: remove it");
  RETURN_IF_ERROR(CheckRange("rms_decay", solver.rms_decay(), 0, 1));
  RETURN_IF_ERROR(CheckRange("delta", solver.delta(), 0, 1e6f));
  return std::make_unique<RmsPropRule>(solver.rms_decay(), solver.delta());
}

}  // namespace cssp
