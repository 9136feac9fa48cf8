// The file that layers_test.py writes for layer_driver, and the answer.
//
// Little-endian, no alignment.  string: u32 bytes, then they.  array: u32 axes,
// an i64 each, then the floats.  list: u32 entries, then they.
//   request = list of { string name; string text; u8 kind; u8 phase; u8 offer;
//                       list param arrays;
//                       list of steps { list bottoms; list top gradients } }
//   answer  = list of { string name; string error;
//                       list of steps { list tops; list bottom gradients;
//                                       list parameter gradients } }
// No gradient: an array of one axis and no element.
#ifndef CSSP_TESTS_CONFORMANCE_LAYERS_CASE_FILE_H_
#define CSSP_TESTS_CONFORMANCE_LAYERS_CASE_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/tensor/shape.h"
#include "tests/testing/layer_runner.h"

namespace cssp::testing {

struct Array {
  Shape shape;
  Values values;
};

using Arrays = std::vector<Array>;

enum class CaseKind : uint8_t {
  kLayer,  // text is a LayerParameter, run by LayerRunner
  kNet,    // the same, put into a net whose loss is <top gradients, tops>
  kWhole,  // text is a NetParameter; bottoms are its inputs, tops its outputs
};

struct Case {
  std::string name, text;
  CaseKind kind = CaseKind::kLayer;
  caffe::Phase phase = caffe::TRAIN;
  Offer offer = Offer::kCaffe;
  Arrays param;
  struct Step {
    Arrays bottom, top_gradient;
  };
  std::vector<Step> steps;  // each with shapes of its own
};

struct Answer {
  std::string name, error;
  struct Step {
    Arrays top, bottom_gradient, param_gradient;
  };
  std::vector<Step> steps;
};

// DataLoss where the file is not as above.
absl::StatusOr<std::vector<Case>> ReadCases(const std::string& path);
absl::Status WriteAnswers(const std::vector<Answer>& answers,
                          const std::string& path);

// How the two runners in run_case.h differ from one run to the next or between
// two arrays that must be equal bit for bit; empty where they do not.
std::string Difference(const char* what, const std::vector<Values>& a,
                       const std::vector<Values>& b);

inline Array NoGradient() { return {Shape({0}), {}}; }

}  // namespace cssp::testing

#endif  // CSSP_TESTS_CONFORMANCE_LAYERS_CASE_FILE_H_
