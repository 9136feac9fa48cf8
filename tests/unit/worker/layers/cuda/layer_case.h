// One layer, its bottoms and what fills them: a row of the table that the CPU
// and the GPU must agree on.
#ifndef CSSP_TESTS_UNIT_WORKER_LAYERS_CUDA_LAYER_CASE_H_
#define CSSP_TESTS_UNIT_WORKER_LAYERS_CUDA_LAYER_CASE_H_

#include <string>
#include <vector>

#include "common/tensor/shape.h"
#include "proto/caffe.pb.h"

namespace cssp::testing {

struct BottomCase {
  enum Fill {
    kNormal,
    kDistinct,  // no ties, no kinks near zero
    kPositive,  // 0.5 + |normal|
    kUnit,      // [0, 1)
    kLabels,    // whole numbers from `low` to `high - 1`
    kGiven,     // `values`
  };
  Shape shape;
  Fill fill = kNormal;
  int low = 0, high = 0;
  std::vector<float> values;
};

inline BottomCase Normals(Shape shape) { return {shape}; }
inline BottomCase Distincts(Shape shape) {
  return {shape, BottomCase::kDistinct};
}
inline BottomCase Positives(Shape shape) {
  return {shape, BottomCase::kPositive};
}
inline BottomCase Units(Shape shape) { return {shape, BottomCase::kUnit}; }
inline BottomCase Labels(Shape shape, int high, int low = 0) {
  return {shape, BottomCase::kLabels, low, high};
}
inline BottomCase Given(Shape shape, std::vector<float> values) {
  return {shape, BottomCase::kGiven, 0, 0, values};
}

// Both differ by at most tolerance * (|expected| + the blob's root mean
// square).
inline constexpr double kElementwise = 1e-5;
inline constexpr double kProducts = 1e-4;  // sums of many products, powers

struct LayerCase {
  std::string type;
  std::string param;  // text behind the type
  std::vector<BottomCase> bottom;
  double tolerance = kElementwise;
  int tops = 1;
  caffe::Phase phase = caffe::TRAIN;
  // Parameters are filled like this.
  BottomCase::Fill params = BottomCase::kNormal;
  // A label is no class: on the GPU the first top is nan, gradients are not.
  bool bad_label = false;
};

using LayerCases = std::vector<LayerCase>;

// The table, by family.
LayerCases NeuronCases();
LayerCases VisionCases();
LayerCases NormCases();
LayerCases ShapeCases();
LayerCases RearrangeCases();
LayerCases RecurrentCases();
LayerCases LossCases();

}  // namespace cssp::testing

#endif  // CSSP_TESTS_UNIT_WORKER_LAYERS_CUDA_LAYER_CASE_H_
