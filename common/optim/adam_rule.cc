// Adam; b1 = momentum, b2 = momentum2, t = updates made + 1:
//   m = b1 * m + (1 - b1) * g
//   v = b2 * v + (1 - b2) * g * g
//   w = w - r * c * (m / (sqrt(v) + delta))         where r = rate * lr_mult
//   and c = sqrt(1 - b2^t) / (1 - b1^t).
#include <cmath>

#include "common/base/status_macros.h"
#include "common/optim/gradient_form.h"
#include "common/optim/rules.h"
#include "common/optim/simd.h"

namespace cssp {
namespace {

struct AdamFactors {
  float beta1;
  float beta2;
  float delta;
  float rate;  // lr_mult and the correction applied
};

CSSP_SIMD_CLONES void UpdateAdam(AdamFactors f, const GradientForm& form,
                                 const UpdateRule::Arrays& a) {
  const float* in = a.weights_in.data();
  float* out = a.weights_out.data();
  float* m = a.history[0];
  float* v = a.history[1];
  const float beta1 = f.beta1, beta2 = f.beta2, delta = f.delta;
  const float rate = f.rate;
  const float fresh1 = 1.0f - beta1, fresh2 = 1.0f - beta2;
  ForEachGradient(form, in, a.gradient.data(), a.gradient.size(),
                  [=](int64_t i, float g) CSSP_SIMD_BODY {
                    const float mean = beta1 * m[i] + fresh1 * g;
                    const float square = beta2 * v[i] + fresh2 * (g * g);
                    m[i] = mean;
                    v[i] = square;
                    const float root = std::sqrt(square) + delta;
                    out[i] = in[i] - rate * (mean / root);
                  });
}

// Immutable.
class AdamRule final : public UpdateRule {
 public:
  explicit AdamRule(const caffe::SolverParameter& solver)
      : beta1_(solver.momentum()),
        beta2_(solver.momentum2()),
        delta_(solver.delta()) {}
  const char* type() const override { return "Adam"; }
  int num_history() const override { return 2; }
  bool linear() const override { return false; }
  void Apply(const UpdateStep& step, const BlobMultipliers& blob,
             const GradientForm& form, const Arrays& arrays) const override {
    CheckArrays(arrays, 2);
    const float rate = step.rate * blob.lr_mult * Correction(step.update + 1);
    UpdateAdam({beta1_, beta2_, delta_, rate}, form, arrays);
  }

 private:
  float Correction(int64_t t) const {
    return static_cast<float>(
        std::sqrt(1.0 - std::pow(double{beta2_}, static_cast<double>(t))) /
        (1.0 - std::pow(double{beta1_}, static_cast<double>(t))));
  }

  const float beta1_;
  const float beta2_;
  const float delta_;
};

}  // namespace

RuleOr MakeAdamRule(const caffe::SolverParameter& solver) {
  RETURN_IF_ERROR(CheckRange("momentum", solver.momentum(), 0, 1));
  RETURN_IF_ERROR(CheckRange("momentum2", solver.momentum2(), 0, 1));
  RETURN_IF_ERROR(CheckRange("delta", solver.delta(), 0, 1e6f));
  return std::make_unique<AdamRule>(solver);
}

}  // namespace cssp
