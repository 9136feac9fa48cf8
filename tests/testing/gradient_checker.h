// Compares a layer's Backward with numeric derivatives of its Forward.
#ifndef CSSP_TESTS_TESTING_GRADIENT_CHECKER_H_
#define CSSP_TESTS_TESTING_GRADIENT_CHECKER_H_

#include <string>
#include <vector>

#include "tests/testing/layer_runner.h"

namespace cssp::testing {

// The constants are BVLC's, whose checker this follows: central differences,
//   |analytic - numeric| <= threshold * max(|analytic|, |numeric|, 1).
struct GradientCheck {
  std::string layer;            // LayerParameter, text
  std::vector<Shape> bottom;
  caffe::Phase phase = caffe::TRAIN;
  double step = 1e-2;
  double threshold = 1e-3;
  // Elements of bottom 0 within `kink_range` of `kink` are not checked.
  double kink = 0, kink_range = -1;
  // Values of bottom i, if given; else normal ones.
  std::vector<Values> values;
  // Bottoms that are checked: bit i.  Those gradients never reach (labels) are
  // left out by themselves.
  uint32_t bottoms = ~0u;
  // Values of the parameters, if given; else normal ones.
  std::vector<Values> params;
};

// For every way of offering formats and for both gradient modes: the objective
// is a fixed random combination of all tops.  Empty when all is well, else what
// differs first.
std::string CheckGradients(const GradientCheck& check);

}  // namespace cssp::testing

#endif  // CSSP_TESTS_TESTING_GRADIENT_CHECKER_H_
