// SGD with momentum:
//   h = momentum * h + r * g
//   w = w - h                          where r = rate * lr_mult.
#include "common/base/status_macros.h"
#include "common/optim/rules.h"
#include "common/optim/simd.h"

namespace cssp {
namespace {

CSSP_SIMD_CLONES void UpdateSgd(float momentum, float rate, const float* in,
                                float* out, float* h, const float* g,
                                int64_t n) {
  CSSP_SIMD_LOOP
  for (int64_t i = 0; i < n; ++i) {
    const float step = momentum * h[i] + rate * g[i];
    h[i] = step;
    out[i] = in[i] - step;
  }
}

// Immutable.
class SgdRule final : public UpdateRule {
 public:
  explicit SgdRule(float momentum) : momentum_(momentum) {}
  const char* type() const override { return "SGD"; }
  int num_history() const override { return 1; }
  bool linear() const override { return true; }
  void Apply(const UpdateStep& step, const BlobMultipliers& blob,
             absl::Span<const float> weights_in, absl::Span<float> weights_out,
             absl::Span<float* const> history,
             absl::Span<float> gradient) const override {
    CheckSpans(weights_in, weights_out, history, 1, gradient);
    UpdateSgd(momentum_, step.rate * blob.lr_mult, weights_in.data(),
              weights_out.data(), history[0], gradient.data(), gradient.size());
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
