// RMSProp:
//   h = rms_decay * h + (1 - rms_decay) * g * g
//   w = w - r * (g / (sqrt(h) + delta))             where r = rate * lr_mult.
#include <cmath>

#include "common/base/status_macros.h"
#include "common/optim/gradient_form.h"
#include "common/optim/rules.h"
#include "common/optim/simd.h"

namespace cssp {
namespace {

struct RmsPropFactors {
  float decay;
  float delta;
  float rate;
};

CSSP_SIMD_CLONES void UpdateRmsProp(RmsPropFactors f, const GradientForm& form,
                                    const UpdateRule::Arrays& a) {
  const float* in = a.weights_in.data();
  float* out = a.weights_out.data();
  float* h = a.history[0];
  const float decay = f.decay, delta = f.delta, rate = f.rate;
  const float fresh = 1.0f - decay;
  ForEachGradient(form, in, a.gradient.data(), a.gradient.size(),
                  [=](int64_t i, float g) CSSP_SIMD_BODY {
                    const float squares = decay * h[i] + fresh * (g * g);
                    h[i] = squares;
                    out[i] = in[i] - rate * (g / (std::sqrt(squares) + delta));
                  });
}

// Immutable.
class RmsPropRule final : public UpdateRule {
 public:
  RmsPropRule(float decay, float delta) : decay_(decay), delta_(delta) {}
  const char* type() const override { return "RMSProp"; }
  int num_history() const override { return 1; }
  bool linear() const override { return false; }
  void Apply(const UpdateStep& step, const BlobMultipliers& blob,
             const GradientForm& form, const Arrays& arrays) const override {
    CheckArrays(arrays, 1);
    UpdateRmsProp({decay_, delta_, step.rate * blob.lr_mult}, form, arrays);
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
