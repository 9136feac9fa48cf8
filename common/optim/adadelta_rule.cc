// AdaDelta; momentum is the decay of both histories:
//   h1 = momentum * h1 + (1 - momentum) * g * g
//   s  = g * sqrt((delta + h2) / (delta + h1))
//   h2 = momentum * h2 + (1 - momentum) * s * s
//   w  = w - r * s                                  where r = rate * lr_mult.
#include <cmath>

#include "common/base/status_macros.h"
#include "common/optim/gradient_form.h"
#include "common/optim/rules.h"
#include "common/optim/simd.h"

namespace cssp {
namespace {

struct AdaDeltaFactors {
  float momentum;
  float delta;
  float rate;
};

CSSP_SIMD_CLONES void UpdateAdaDelta(AdaDeltaFactors f,
                                     const GradientForm& form,
                                     const UpdateRule::Arrays& a) {
  const float* in = a.weights_in.data();
  float* out = a.weights_out.data();
  float* h1 = a.history[0];
  float* h2 = a.history[1];
  const float momentum = f.momentum, delta = f.delta, rate = f.rate;
  const float fresh = 1.0f - momentum;
  ForEachGradient(form, in, a.gradient.data(), a.gradient.size(),
                  [=](int64_t i, float g) CSSP_SIMD_BODY {
                    const float gradients = momentum * h1[i] + fresh * (g * g);
                    h1[i] = gradients;
                    const float step =
                        g * std::sqrt((delta + h2[i]) / (delta + gradients));
                    h2[i] = momentum * h2[i] + fresh * (step * step);
                    out[i] = in[i] - rate * step;
                  });
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
             const GradientForm& form, const Arrays& arrays) const override {
    CheckArrays(arrays, 2);
    UpdateAdaDelta({momentum_, delta_, step.rate * blob.lr_mult}, form, arrays);
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
