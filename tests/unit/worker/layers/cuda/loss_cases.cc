#include "absl/strings/str_cat.h"
#include "tests/unit/worker/layers/cuda/layer_case.h"

namespace cssp::testing {
namespace {

LayerCases SoftmaxLossCases() {
  const BottomCase dense = Normals({3, 5, 4, 6});
  const BottomCase dense_labels = Labels({3, 4, 6}, 5);
  const BottomCase some_ignored = Labels({3, 4, 6}, 5, -1);
  LayerCases cases = {
      {"SoftmaxWithLoss", "", {Normals({4, 10}), Labels({4}, 10)}},
      {"SoftmaxWithLoss", "", {Normals({64, 1000}), Labels({64}, 1000)}},
      {"SoftmaxWithLoss", "", {dense, dense_labels}},
      {"SoftmaxWithLoss",
       "softmax_param { axis: -1 }",
       {Normals({3, 5, 7}), Labels({3, 5}, 7)}},
      {.type = "SoftmaxWithLoss",
       .param = "",
       .bottom = {dense, dense_labels},
       .tops = 2},
      {"SoftmaxWithLoss",
       "loss_param { ignore_label: 0 }",
       {Normals({4, 10}), Given({4}, {0, 0, 0, 0})}},
      {.type = "SoftmaxWithLoss",
       .bottom = {Normals({4, 10}), Given({4}, {0, 10, 3, 1})},
       .bad_label = true},
      {.type = "SoftmaxWithLoss",
       .bottom = {Normals({3, 10}), Given({3}, {0, -3e9f, 3})},
       .bad_label = true},
  };
  for (const char* mode : {"FULL", "VALID", "BATCH_SIZE", "NONE"}) {
    cases.push_back({"SoftmaxWithLoss",
                     absl::StrCat("loss_param { ignore_label: -1 "
                                  "normalization: ",
                                  mode, " }"),
                     {dense, some_ignored}});
  }
  return cases;
}

LayerCases AccuracyCases() {
  const BottomCase dense = Distincts({3, 5, 4, 6});
  return {
      {"Accuracy", "", {Distincts({40, 10}), Labels({40}, 10)}},
      {.type = "Accuracy",
       .bottom = {Distincts({40, 10}), Labels({40}, 10)},
       .tops = 2},
      {.type = "Accuracy",
       .param = "accuracy_param { top_k: 3 ignore_label: 2 }",
       .bottom = {dense, Labels({3, 4, 6}, 5)},
       .tops = 2},
      {"Accuracy",
       "accuracy_param { top_k: 5 }",
       {Distincts({32, 1000}), Labels({32}, 1000)}},
      // Ties count against the label.
      {"Accuracy", "", {Labels({50, 4}, 2), Labels({50}, 4)}},
      {.type = "Accuracy",
       .bottom = {Distincts({3, 10}), Given({3}, {0, 11, 3})},
       .bad_label = true},
  };
}

}  // namespace

LayerCases LossCases() {
  const Shape small = {4, 3, 5};
  LayerCases all = {
      {"EuclideanLoss", "", {Normals(small), Normals(small)}},
      {"EuclideanLoss", "", {Normals({5, 4001}), Normals({5, 4001})}},
      {"SigmoidCrossEntropyLoss", "", {Normals(small), Units(small)}},
      {"SigmoidCrossEntropyLoss",
       "loss_param { ignore_label: -1 normalization: VALID }",
       {Normals(small), Labels(small, 2, -1)}},
      {"SigmoidCrossEntropyLoss",
       "loss_param { normalization: FULL }",
       {Normals({40, 500}), Units({40, 500})}},
      {"HingeLoss", "", {Distincts({6, 7}), Labels({6}, 7)}},
      {"HingeLoss",
       "hinge_loss_param { norm: L2 }",
       {Normals({50, 100}), Labels({50}, 100)}},
      {.type = "HingeLoss",
       .bottom = {Normals({3, 10}), Given({3}, {0, 10, 3})},
       .bad_label = true},
  };
  for (const LayerCases& more : {SoftmaxLossCases(), AccuracyCases()}) {
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

}  // namespace cssp::testing
