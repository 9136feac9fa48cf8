// SGD with momentum:
//   h = momentum * h + r * g
//   w = w - h                          where r = rate * lr_mult.
// With g = 0 the i-th step from now is momentum^i * h, so n of them make
//   Coast(n) = momentum + momentum^2 + ... + momentum^n.
#include "common/base/status_macros.h"
#include "common/optim/gradient_form.h"
#include "common/optim/rules.h"
#include "common/optim/simd.h"

namespace cssp {
namespace {

CSSP_SIMD_CLONES void UpdateSgd(float momentum, float rate,
                                const GradientForm& form,
                                const UpdateRule::Arrays& a) {
  const float* in = a.weights_in.data();
  float* out = a.weights_out.data();
  float* h = a.history[0];
  ForEachGradient(form, in, a.gradient.data(), a.gradient.size(),
                  [=](int64_t i, float g) CSSP_SIMD_BODY {
                    const float step = momentum * h[i] + rate * g;
                    h[i] = step;
                    out[i] = in[i] - step;
                  });
}

// Immutable.
class SgdRule final : public UpdateRule {
 public:
  explicit SgdRule(float momentum) : momentum_(momentum) {}
  const char* type() const override { return "SGD"; }
  int num_history() const override { return 1; }
  bool linear() const override { return true; }
  float Coast(int64_t updates) const override {
    return GeometricSum(momentum_, updates);
  }
  void Apply(const UpdateStep& step, const BlobMultipliers& blob,
             const GradientForm& form, const Arrays& arrays) const override {
    CheckArrays(arrays, 1);
    UpdateSgd(momentum_, step.rate * blob.lr_mult, form, arrays);
  }

 private:
  const float momentum_;
};

}  // namespace

RuleOr MakeSgdRule(const caffe::SolverParameter& solver) {
  RETURN_IF_ERROR(CheckRange("momentum", solver.momentum(), 0, 1e6f));
  return std::make_unique<SgdRule>(solver.momentum());
}

}  // namespace cssp
