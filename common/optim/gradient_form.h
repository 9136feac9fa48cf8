// The loop of every rule: forms each gradient as it is read, so that decay
// costs no pass over memory of its own.
#ifndef CSSP_COMMON_OPTIM_GRADIENT_FORM_H_
#define CSSP_COMMON_OPTIM_GRADIENT_FORM_H_

#include <cstdint>

#include "common/optim/simd.h"
#include "common/optim/update_rule.h"

namespace cssp {

// body(i, gradient of element i) for each of n elements.  To be called from a
// function with CSSP_SIMD_CLONES, into whose clones it is compiled; the body
// touches element i of its arrays only.
template <class Body>
inline __attribute__((always_inline)) void ForEachGradient(
    const GradientForm& form, const float* w, const float* g, int64_t n,
    Body body) {
  const float scale = form.scale, decay = form.decay;
  switch (form.kind) {
    case GradientForm::Kind::kAsItIs:
      CSSP_SIMD_LOOP
      for (int64_t i = 0; i < n; ++i) body(i, g[i]);
      return;
    case GradientForm::Kind::kScaled:
      CSSP_SIMD_LOOP
      for (int64_t i = 0; i < n; ++i) body(i, g[i] * scale);
      return;
    case GradientForm::Kind::kL2:
      CSSP_SIMD_LOOP
      for (int64_t i = 0; i < n; ++i) body(i, g[i] * scale + decay * w[i]);
      return;
    case GradientForm::Kind::kL1:
      CSSP_SIMD_LOOP
      for (int64_t i = 0; i < n; ++i) {
        const float sign = static_cast<float>((w[i] > 0) - (w[i] < 0));
        body(i, g[i] * scale + decay * sign);
      }
      return;
  }
}

}  // namespace cssp

#endif  // CSSP_COMMON_OPTIM_GRADIENT_FORM_H_
