#include "tests/unit/worker/layers/cuda/layer_case.h"

namespace cssp::testing {

LayerCases NeuronCases() {
  const Shape small = {2, 3, 4, 5}, odd = {7, 33}, large = {3, 70000};
  return {
      {"ReLU", "", {Distincts(small)}},
      {"ReLU", "", {Distincts(large)}},
      {"ReLU", "relu_param { negative_slope: 0.1 }", {Distincts(odd)}},
      {"ReLU", "relu_param { negative_slope: -0.1 }", {Distincts(odd)}},
      {"ReLU6", "", {Distincts(small)}},
      {"ReLU6", "", {Distincts(large)}},
      {"TanH", "", {Normals(small)}},
      {"TanH", "", {Normals(large)}},
      {"Sigmoid", "", {Normals(small)}},
      {"AbsVal", "", {Distincts(small)}},
      {"Power", "", {Normals(odd)}},
      {"Power", "power_param { power: 2 scale: 3 shift: -1 }", {Normals(odd)}},
      {"Power",
       "power_param { power: 0.7 scale: 2 shift: 1 }",
       {Positives(odd)}},
      {"Power", "power_param { power: 0 shift: 1 }", {Positives(odd)}},
      {"Exp", "", {Normals(odd)}},
      {"Exp", "exp_param { base: 2 scale: 0.5 shift: 1 }", {Normals(odd)}},
      {"Log", "", {Positives(odd)}},
      {"Log", "log_param { base: 10 scale: 2 shift: 1 }", {Positives(odd)}},
      {"BNLL", "", {Normals(small)}},
      {"ELU", "", {Distincts(small)}},
      {"ELU", "elu_param { alpha: 0.3 }", {Distincts(odd)}},
      {"ELU", "elu_param { alpha: -0.3 }", {Distincts(odd)}},
      {"Swish", "", {Normals(small)}},
      {"Swish", "swish_param { beta: 1.5 }", {Normals(odd)}},
      {"Clip", "clip_param { min: -0.4 max: 0.6 }", {Distincts(odd)}},
      {"Threshold", "threshold_param { threshold: 0.25 }", {Distincts(odd)}},
      {"PReLU", "", {Distincts(small)}},
      {"PReLU", "", {Distincts(odd)}},
      {"PReLU", "", {Distincts({4, 6, 60, 61})}},
      {"PReLU",
       "prelu_param { channel_shared: true }",
       {Distincts({3, 5, 31, 40})}},
      {"Dropout", "", {Normals(odd)}},
      {"Dropout", "dropout_param { dropout_ratio: 0.2 }", {Normals({3, 41})}},
      {"Dropout", "", {Normals(large)}},
      {.type = "Dropout", .bottom = {Normals(odd)}, .phase = caffe::TEST},
  };
}

}  // namespace cssp::testing
