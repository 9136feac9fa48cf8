#include "absl/strings/str_cat.h"
#include "tests/unit/worker/layers/cuda/layer_case.h"

namespace cssp::testing {
namespace {

LayerCase Many(const char* type, const std::string& param,
               std::vector<BottomCase> bottom, int tops) {
  return {
      .type = type, .param = param, .bottom = std::move(bottom), .tops = tops};
}

std::string Coefficients(int count) {
  std::string param = "eltwise_param {";
  for (int i = 0; i < count; ++i)
    absl::StrAppend(&param, " coeff: ", i % 5 - 2.5);
  return param + " }";
}

}  // namespace

LayerCases ShapeCases() {
  const Shape small = {3, 4, 5, 6};
  const BottomCase n = Normals(small), d = Distincts(small);
  return {
      Many("Split", "", {n}, 1),
      Many("Split", "", {n}, 3),
      Many("Split", "", {Normals({3, 2})}, 70),
      Many("Concat", "", {n}, 1),
      Many("Concat", "", {n, Normals({3, 2, 5, 6}), n}, 1),
      Many("Concat", "concat_param { axis: 0 }", {n, Normals({1, 4, 5, 6})}, 1),
      Many("Concat", "concat_param { axis: -1 }", {n, Normals({3, 4, 5, 1})},
           1),
      Many("Slice", "", {n}, 2),
      Many("Slice", "slice_param { axis: 2 slice_point: 1 slice_point: 4 }",
           {n}, 3),
      Many("Slice", "slice_param { axis: 0 }", {n}, 3),
      Many("Eltwise", "", {n, n}, 1),
      Many("Eltwise", "eltwise_param { coeff: 0.5 coeff: -2 coeff: 1 }",
           {n, n, n}, 1),
      Many("Eltwise", "eltwise_param { operation: PROD }", {n, n, n}, 1),
      Many("Eltwise",
           "eltwise_param { operation: PROD stable_prod_grad: false }",
           {Positives(small), Positives(small)}, 1),
      Many("Eltwise", "eltwise_param { operation: MAX }", {d, d, d}, 1),
      // More than travel to a kernel by value.
      Many("Eltwise", "", std::vector<BottomCase>(9, n), 1),
      Many("Eltwise", Coefficients(70), std::vector<BottomCase>(70, n), 1),
      Many("Eltwise", "eltwise_param { operation: PROD }",
           std::vector<BottomCase>(12, Positives({3, 70})), 1),
      Many("Eltwise", "eltwise_param { operation: MAX }",
           std::vector<BottomCase>(100, d), 1),
      Many("Reduction", "", {n}, 1),
      Many("Reduction", "reduction_param { operation: ASUM axis: 1 coeff: 2 }",
           {d}, 1),
      Many("Reduction", "reduction_param { operation: SUMSQ axis: 2 }", {n}, 1),
      Many("Reduction", "reduction_param { operation: MEAN axis: 1 }",
           {Normals({3, 9000})}, 1),
      Many("Reduction", "reduction_param { operation: MEAN }",
           {Positives({90, 1000})}, 1),
      Many("ArgMax", "", {Distincts({3, 40})}, 1),
      Many("ArgMax", "argmax_param { top_k: 5 out_max_val: true }",
           {Distincts({3, 4, 50})}, 1),
      Many("ArgMax", "argmax_param { axis: 1 top_k: 2 }", {d}, 1),
      Many("ArgMax", "argmax_param { axis: -1 top_k: 3 out_max_val: true }",
           {d}, 1),
      // Equal values.
      Many("ArgMax", "argmax_param { top_k: 4 }", {Labels({5, 40}, 3)}, 1),
  };
}

}  // namespace cssp::testing
