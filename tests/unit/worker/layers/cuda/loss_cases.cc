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

// Two items, six priors, three classes; the second item has a difficult object.
LayerCases MultiBoxCases() {
  const std::vector<float> priors = {
      0.05f, 0.05f, 0.35f, 0.35f, 0.1f,  0.1f,  0.45f, 0.4f,  //
      0.5f,  0.5f,  0.8f,  0.9f,  0.45f, 0.5f,  0.85f, 0.8f,  //
      -0.1f, 0.6f,  0.2f,  0.95f, 0.6f,  0.05f, 0.9f,  0.3f,  // variances
      0.1f,  0.1f,  0.2f,  0.2f,  0.1f,  0.1f,  0.2f,  0.2f,  //
      0.1f,  0.1f,  0.2f,  0.2f,  0.1f,  0.1f,  0.2f,  0.2f,  //
      0.1f,  0.1f,  0.2f,  0.2f,  0.1f,  0.1f,  0.2f,  0.2f};
  std::vector<float> truths = {0,  1, 0, 0.07f, 0.08f, 0.4f,  0.37f, 0,  //
                               0,  2, 0, 0.5f,  0.55f, 0.82f, 0.85f, 0,  //
                               1,  2, 0, 0.0f,  0.6f,  0.22f, 0.9f,  0,  //
                               1,  1, 1, 0.55f, 0.5f,  0.9f,  0.8f,  1,  //
                               -1, 0, 0, 0,     0,     0,     0,     0};
  LayerCases cases;
  for (const char* fields :
       {"", "code_type: CENTER_SIZE", "mining_type: NONE",
        "mining_type: NONE conf_loss_type: LOGISTIC loc_loss_type: L2",
        "code_type: CORNER_SIZE neg_pos_ratio: 1 use_difficult_gt: false",
        "match_type: BIPARTITE loc_weight: 2 map_object_to_agnostic: true",
        "ignore_cross_boundary_bbox: true bp_inside: true",
        "code_type: CENTER_SIZE encode_variance_in_target: true",
        "mining_type: HARD_EXAMPLE sample_size: 3",
        "mining_type: HARD_EXAMPLE sample_size: 2 code_type: CENTER_SIZE "
        "conf_loss_type: LOGISTIC",
        "use_prior_for_matching: false bp_inside: true",
        "use_prior_for_matching: false mining_type: HARD_EXAMPLE "
        "sample_size: 4 ignore_cross_boundary_bbox: true",
        "nms_param { nms_threshold: 0.1 }",
        "neg_pos_ratio: 2 nms_param { nms_threshold: 0.3 top_k: 3 } "
        "use_prior_for_nms: true"}) {
    cases.push_back(
        {"MultiBoxLoss",
         absl::StrCat("multibox_loss_param { num_classes: 3 ", fields, " }"),
         {Normals({2, 24}), Normals({2, 18}), Given({1, 2, 24}, priors),
          Given({1, 1, 5, 8}, truths)},
         kProducts});
  }
  for (const char* fields :
       {"", "match_type: BIPARTITE loc_loss_type: L2",
        "use_prior_for_matching: false",
        "use_prior_for_matching: false conf_loss_type: LOGISTIC "
        "ignore_cross_boundary_bbox: true"}) {
    cases.push_back(
        {"MultiBoxLoss",
         absl::StrCat("multibox_loss_param { num_classes: 3 mining_type: NONE "
                      "share_location: false ",
                      fields, " }"),
         {Normals({2, 72}), Normals({2, 18}), Given({1, 2, 24}, priors),
          Given({1, 1, 5, 8}, truths)},
         kProducts});
  }
  truths[9] = 3;  // no class
  cases.push_back(
      {.type = "MultiBoxLoss",
       .param = "multibox_loss_param { num_classes: 3 }",
       .bottom = {Normals({2, 24}), Normals({2, 18}), Given({1, 2, 24}, priors),
                  Given({1, 1, 5, 8}, truths)},
       .bad_label = true});
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

// Boxes of a coarse grid that overlap by clearly different shares.
LayerCases DetectionCases() {
  std::vector<float> priors;
  for (int p = 0; p < 300; ++p) {
    const float x = 0.04f * (p % 20), y = 0.06f * (p / 20);
    const float side = 0.1f + 0.013f * (p % 7);
    priors.insert(priors.end(), {x, y, x + side, y + side * 0.8f});
  }
  for (int p = 0; p < 300; ++p)
    priors.insert(priors.end(), {0.1f, 0.1f, 0.2f, 0.2f});
  LayerCases cases;
  const auto add = [&](const char* fields, int64_t loc_classes,
                       BottomCase conf) {
    cases.push_back(
        {.type = "DetectionOutput",
         .param = absl::StrCat("detection_output_param { num_classes: 5 ",
                               fields, " }"),
         .bottom = {Normals({3, 1200 * loc_classes}), std::move(conf),
                    Given({1, 2, 1200}, priors)},
         .phase = caffe::TEST});
  };
  const BottomCase scores = Distincts({3, 1500});
  add("", 1, scores);
  add("code_type: CENTER_SIZE confidence_threshold: 20 keep_top_k: 50", 1,
      scores);
  add("nms_param { nms_threshold: 0.6 eta: 0.9 top_k: 40 } keep_top_k: 7", 1,
      scores);
  add("share_location: false code_type: CENTER_SIZE background_label_id: 2", 5,
      scores);
  // Equal scores, also 0 and below; nothing above the threshold; no item keeps.
  add("keep_top_k: 20", 1, Labels({3, 1500}, 3, -2));
  add("confidence_threshold: 1e6", 1, scores);
  add("keep_top_k: 0", 1, scores);
  return cases;
}

LayerCases FilterCases() {
  LayerCases cases;
  const auto add = [&](int64_t items, std::vector<float> selector, int tops) {
    std::vector<BottomCase> bottom = {Normals({items, 3, 5})};
    if (tops > 1) bottom.push_back(Normals({items}));
    bottom.push_back(selector.empty() ? Labels({items}, 2)
                                      : Given({items}, selector));
    cases.push_back(
        {.type = "Filter", .bottom = std::move(bottom), .tops = tops});
  };
  add(5, {1, 0, 0, -2, 1}, 1);
  add(3, {0, 0, 0}, 2);
  add(3, {1, 1, 1}, 2);
  add(1000, {}, 2);
  return cases;
}

}  // namespace

LayerCases LossCases() {
  const Shape small = {4, 3, 5};
  LayerCases all = {
      {"ContrastiveLoss",
       "",
       {Normals({20, 7}), Normals({20, 7}), Labels({20}, 2)}},
      {"ContrastiveLoss",
       "contrastive_loss_param { margin: 4 }",
       {Normals({50, 3}), Normals({50, 3}), Labels({50}, 2)}},
      {"ContrastiveLoss",
       "contrastive_loss_param { margin: 9 legacy_version: true }",
       {Normals({50, 3}), Normals({50, 3}), Labels({50}, 2)}},
      {"SmoothL1Loss", "", {Normals(small), Normals(small)}},
      {"SmoothL1Loss",
       "smooth_l1_loss_param { sigma: 2 }",
       {Normals(small), Normals(small), Units(small), Units(small)}},
      {"MultinomialLogisticLoss", "", {Units({30, 6}), Labels({30}, 6)}},
      {.type = "MultinomialLogisticLoss",
       .bottom = {Units({3, 10}), Given({3}, {0, 10, 3})},
       .bad_label = true},
      {"InfogainLoss", "", {Normals({20, 5}), Labels({20}, 5), Units({5, 5})}},
      {.type = "InfogainLoss",
       .param = "loss_param { ignore_label: 1 }",
       .bottom = {Normals({3, 5, 4, 6}), Labels({3, 4, 6}, 5), Units({5, 5})},
       .tops = 2},
      {.type = "InfogainLoss",
       .bottom = {Normals({3, 5}), Given({3}, {0, 5, 3}), Units({5, 5})},
       .bad_label = true},
      {"SoftmaxWithLoss",
       "loss_param { label_smoothing: 0.1 }",
       {Normals({20, 10}), Labels({20}, 10)}},
      {"SoftmaxWithLoss",
       "loss_param { label_smoothing: 0.2 ignore_label: -1 }",
       {Normals({3, 5, 4, 6}), Labels({3, 4, 6}, 5, -1)}},
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
  for (const LayerCases& more :
       {SoftmaxLossCases(), AccuracyCases(), MultiBoxCases(),
        DetectionCases(), FilterCases()}) {
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

}  // namespace cssp::testing
