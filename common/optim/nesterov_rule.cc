// Nesterov's accelerated gradient:
//   h' = momentum * h + r * g
//   w  = w - ((1 + momentum) * h' - momentum * h)   where r = rate * lr_mult.
// With g = 0 the i-th step from now is momentum^(i+1) * h, so n of them make
//   Coast(n) = momentum * (momentum + momentum^2 + ... + momentum^n).
#include "common/base/status_macros.h"
#include "common/optim/gradient_form.h"
#include "common/optim/rules.h"
#include "common/optim/simd.h"

namespace cssp {
namespace {

CSSP_SIMD_CLONES void UpdateNesterov(float momentum, float rate,
                                     const GradientForm& form,
                                     const UpdateRule::Arrays& a) {
  const float* in = a.weights_in.data();
  float* out = a.weights_out.data();
  float* h = a.history[0];
  const float ahead = 1.0f + momentum;
  ForEachGradient(form, in, a.gradient.data(), a.gradient.size(),
                  [=](int64_t i, float g) CSSP_SIMD_BODY {
                    const float old = h[i];
                    const float now = momentum * old + rate * g;
                    h[i] = now;
                    out[i] = in[i] - (-momentum * old + ahead * now);
                  });
}

// Immutable.
class NesterovRule final : public UpdateRule {
 public:
  explicit NesterovRule(float momentum) : momentum_(momentum) {}
  const char* type() const override { return "Nesterov"; }
  int num_history() const override { return 1; }
  bool linear() const override { return true; }
  float Coast(int64_t updates) const override {
    return momentum_ * GeometricSum(momentum_, updates);
  }
  void Apply(const UpdateStep& step, const BlobMultipliers& blob,
             const GradientForm& form, const Arrays& arrays) const override {
    CheckArrays(arrays, 1);
    UpdateNesterov(momentum_, step.rate * blob.lr_mult, form, arrays);
  }

 private:
  const float momentum_;
};

}  // namespace

RuleOr MakeNesterovRule(const caffe::SolverParameter& solver) {
  RETURN_IF_ERROR(CheckRange("momentum", solver.momentum(), 0, 1e6f));
  return std::make_unique<NesterovRule>(solver.momentum());
}

}  // namespace cssp
