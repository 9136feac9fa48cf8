// AdaGrad:
//   h = h + g * g
//   w = w - r * (g / (sqrt(h) + delta))             where r = rate * lr_mult.
#include <cmath>

#include "common/base/status_macros.h"
#include "common/optim/gradient_form.h"
#include "common/optim/rules.h"
#include "common/optim/simd.h"

namespace cssp {
namespace {

CSSP_SIMD_CLONES void UpdateAdaGrad(float delta, float rate,
                                    const GradientForm& form,
                                    const UpdateRule::Arrays& a) {
  const float* in = a.weights_in.data();
  float* out = a.weights_out.data();
  float* h = a.history[0];
  ForEachGradient(form, in, a.gradient.data(), a.gradient.size(),
                  [=](int64_t i, float g) CSSP_SIMD_BODY {
                    const float squares = h[i] + g * g;
                    h[i] = squares;
                    out[i] = in[i] - rate * (g / (std::sqrt(squares) + delta));
                  });
}

// Immutable.
class AdaGradRule final : public UpdateRule {
 public:
  explicit AdaGradRule(float delta) : delta_(delta) {}
  const char* type() const override { return "AdaGrad"; }
  int num_history() const override { return 1; }
  bool linear() const override { return false; }
  void Apply(const UpdateStep& step, const BlobMultipliers& blob,
             const GradientForm& form, const Arrays& arrays) const override {
    CheckArrays(arrays, 1);
    UpdateAdaGrad(delta_, step.rate * blob.lr_mult, form, arrays);
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
