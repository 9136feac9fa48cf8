#include "absl/strings/str_cat.h"
#include "tests/unit/worker/layers/cuda/layer_case.h"

namespace cssp::testing {
namespace {

LayerCase Recurrent(const char* type, const char* more,
                    std::vector<BottomCase> bottom, int tops = 1) {
  return {type, absl::StrCat("recurrent_param { num_output: 5 ", more, " }"),
          std::move(bottom), kProducts, tops};
}

}  // namespace

// 4 steps of 3 streams; continuation marks are 0 or 1.
LayerCases RecurrentCases() {
  const BottomCase x = Normals({4, 3, 7}), cont = Labels({4, 3}, 2);
  const BottomCase fixed = Normals({3, 6}), state = Normals({1, 3, 5});
  return {
      Recurrent("LSTM", "", {x, cont}),
      Recurrent("LSTM", "", {x, cont, fixed}),
      Recurrent("LSTM", "expose_hidden: true", {x, cont, state, state}, 3),
      Recurrent("LSTM", "expose_hidden: true", {x, cont, fixed, state, state},
                3),
      Recurrent("LSTM", "", {Normals({1, 3, 2, 2}), Labels({1, 3}, 2)}),
      Recurrent("RNN", "", {x, cont}),
      Recurrent("RNN", "", {x, cont, fixed}),
      Recurrent("RNN", "expose_hidden: true", {x, cont, fixed, state}, 2),
      {.type = "LSTMUnit",
       .bottom = {state, Normals({1, 3, 20}), Labels({1, 3}, 2)},
       .tops = 2},
  };
}

}  // namespace cssp::testing
