// What a GradientForm means, in plain words: the oracle of the vector loops.
#ifndef CSSP_TESTS_TESTING_FORMED_GRADIENT_H_
#define CSSP_TESTS_TESTING_FORMED_GRADIENT_H_

#include <vector>

#include "common/optim/update_rule.h"

namespace cssp {

inline float Formed(const GradientForm& form, float w, float g) {
  using Kind = GradientForm::Kind;
  if (form.kind == Kind::kAsItIs) return g;
  if (form.kind == Kind::kScaled) return g * form.scale;
  if (form.kind == Kind::kL2) return g * form.scale + form.decay * w;
  const float sign = w > 0 ? 1.0f : w < 0 ? -1.0f : 0.0f;
  return g * form.scale + form.decay * sign;
}

inline std::vector<float> Formed(const GradientForm& form,
                                 const std::vector<float>& w,
                                 std::vector<float> g) {
  for (size_t i = 0; i < g.size(); ++i) g[i] = Formed(form, w[i], g[i]);
  return g;
}

}  // namespace cssp

#endif  // CSSP_TESTS_TESTING_FORMED_GRADIENT_H_
