// ContrastiveLoss, InfogainLoss, MultinomialLogisticLoss, and MVN.
#include <cfloat>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/model_file/blob_proto.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/gradient_checker.h"
#include "tests/testing/layer_runner.h"

namespace cssp::testing {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

absl::StatusCode CodeOf(const std::string& layer,
                        const std::vector<Shape>& bottom) {
  return LayerRunner::Create(layer, caffe::TRAIN, bottom).status().code();
}

float Loss(const std::string& layer, const std::vector<Shape>& shapes,
           const std::vector<Values>& bottom) {
  auto run = LayerRunner::Create(layer, caffe::TRAIN, shapes);
  EXPECT_TRUE(run.ok()) << run.status();
  if (!run.ok()) return 0;
  (*run)->bottom = bottom;
  EXPECT_TRUE((*run)->Forward().ok());
  EXPECT_EQ((*run)->top_shapes()[0], Shape());
  return (*run)->top[0][0];
}

TEST(ContrastiveLossLayer, ForwardAndGradients) {
  const Values a = Normal(15, 1), b = Normal(15, 2), alike = {1, 0, 0, 1, 0};
  for (const bool legacy : {false, true}) {
    for (const double margin : {1.0, 2.5, 6.0}) {
      const std::string layer = absl::StrCat(
          "type: 'ContrastiveLoss' contrastive_loss_param { margin: ", margin,
          " legacy_version: ", legacy ? "true" : "false", " }");
      double sum = 0;
      for (int n = 0; n < 5; ++n) {
        double square = 0;
        for (int c = 0; c < 3; ++c) {
          square += std::pow(double{a[n * 3 + c]} - b[n * 3 + c], 2);
        }
        const double gap =
            std::max(0.0, margin - (legacy ? square : std::sqrt(square)));
        sum += alike[n] != 0 ? square : legacy ? gap : gap * gap;
      }
      const std::vector<Shape> shapes = {{5, 3}, {5, 3, 1, 1}, {5}};
      EXPECT_NEAR(Loss(layer, shapes, {a, b, alike}), sum / 10, 1e-5);
      EXPECT_EQ(
          CheckGradients(
              {.layer = layer, .bottom = shapes, .values = {a, b, alike}}),
          "")
          << layer;
    }
  }
  EXPECT_EQ(CodeOf("type: 'ContrastiveLoss'", {{5, 3}, {5, 4}, {5}}), kInvalid);
  EXPECT_EQ(CodeOf("type: 'ContrastiveLoss'", {{5, 3}, {5, 3}, {4}}), kInvalid);
}

TEST(MultinomialLossLayer, ForwardAndGradients) {
  const std::string layer = "type: 'MultinomialLogisticLoss'";
  const Values p = {0.2f, 0.3f, 0.5f, 0.7f, 0.2f, 0.1f}, labels = {2, 0};
  EXPECT_NEAR(Loss(layer, {{2, 3}, {2}}, {p, labels}),
              -(std::log(0.5) + std::log(0.7)) / 2, 1e-6);
  EXPECT_NEAR(Loss(layer, {{1, 2}, {1}}, {{0, 1}, {0}}), -std::log(1e-20),
              1e-4);
  EXPECT_EQ(CheckGradients({.layer = layer,
                            .bottom = {{2, 3, 1, 1}, {2}},
                            .step = 1e-3,
                            .values = {p, labels}}),
            "");
  EXPECT_EQ(CodeOf(layer, {{2, 3}, {3}}), kInvalid);
  auto run = LayerRunner::Create(layer, caffe::TRAIN, {{1, 3}, {1}});
  ASSERT_TRUE(run.ok());
  (*run)->bottom[1] = {3};
  EXPECT_EQ((*run)->Forward().code(), kInvalid);
}

// ---- Infogain: 2 items of 3 classes at 2 positions.

const Shape kScores = {2, 3, 2};
const std::vector<Shape> kInfogain = {kScores, {2, 2}, {3, 3}};
const Values kMatrix = {2, 0.5f, 0, -0.3f, 1, 0.1f, 0, 1.5f, 0.7f};
const Values kLabels = {0, 2, 1, 0};

double InfogainSum(const Values& x, int ignored, int* valid) {
  double sum = 0;
  *valid = 0;
  for (int i = 0; i < 4; ++i) {
    const int n = i / 2, j = i % 2, label = static_cast<int>(kLabels[i]);
    if (label == ignored) continue;
    ++*valid;
    double total = 0;
    for (int c = 0; c < 3; ++c) total += std::exp(x[(n * 3 + c) * 2 + j]);
    for (int c = 0; c < 3; ++c) {
      sum -= kMatrix[label * 3 + c] *
             std::log(std::exp(x[(n * 3 + c) * 2 + j]) / total);
    }
  }
  return sum;
}

TEST(InfogainLossLayer, ForwardAndGradients) {
  const Values x = Normal(12, 3);
  const struct {
    const char* loss_param;
    int ignored;
    double divisor;  // 0: as many as are valid
  } cases[] = {{"", -1, 0},
               {"ignore_label: 0", 0, 0},
               {"ignore_label: 0 normalization: FULL", 0, 4},
               {"normalization: BATCH_SIZE", -1, 2},
               {"normalize: false", -1, 2},
               {"normalization: NONE", -1, 1}};
  for (const auto& c : cases) {
    const std::string layer =
        absl::StrCat("type: 'InfogainLoss' loss_param { ", c.loss_param, " }");
    int valid;
    const double sum = InfogainSum(x, c.ignored, &valid);
    EXPECT_NEAR(Loss(layer, kInfogain, {x, kLabels, kMatrix}),
                sum / (c.divisor == 0 ? valid : c.divisor), 1e-5)
        << c.loss_param;
    EXPECT_EQ(CheckGradients({.layer = layer,
                              .bottom = kInfogain,
                              .values = {x, kLabels, kMatrix}}),
              "")
        << c.loss_param;
  }
}

TEST(InfogainLossLayer, MatrixFromAFileAndProbabilitiesAsTop) {
  const std::string path = ::testing::TempDir() + "/infogain.binaryproto";
  caffe::BlobProto blob;
  WriteBlob(Shape({1, 1, 3, 3}), kMatrix, {}, &blob);
  ASSERT_TRUE(WriteMean(blob, path).ok());
  const std::string layer = absl::StrCat(
      "type: 'InfogainLoss' top: 'l' top: 'p' infogain_loss_param { source: '",
      path, "' axis: -2 }");
  auto run = LayerRunner::Create(layer, caffe::TRAIN, {kScores, {2, 2}});
  ASSERT_TRUE(run.ok()) << run.status();
  LayerRunner& r = **run;
  r.bottom = {Normal(12, 3), kLabels};
  ASSERT_TRUE(r.Forward().ok());
  int valid;
  EXPECT_NEAR(r.top[0][0], InfogainSum(r.bottom[0], -1, &valid) / 4, 1e-5);
  EXPECT_EQ(r.top_shapes()[1], kScores);
  EXPECT_NEAR(r.top[1][0] + r.top[1][2] + r.top[1][4], 1, 1e-6);
  EXPECT_EQ(CodeOf(layer, {{2, 4, 2}, {2, 2}}), kInvalid);  // 16 elements
  std::remove(path.c_str());
  EXPECT_FALSE(
      LayerRunner::Create(layer, caffe::TRAIN, {kScores, {2, 2}}).ok());
  EXPECT_EQ(CodeOf("type: 'InfogainLoss'", {kScores, {2, 2}}), kInvalid);
}

// ---- MVN

TEST(MvnLayer, ForwardIsTheDefinition) {
  for (const bool across : {false, true}) {
    for (const bool scale : {false, true}) {
      auto run = LayerRunner::Create(
          absl::StrCat("type: 'MVN' mvn_param { eps: 0.01 across_channels: ",
                       across ? "true" : "false",
                       " normalize_variance: ", scale ? "true" : "false", " }"),
          caffe::TRAIN, {{2, 3, 2, 4}});
      ASSERT_TRUE(run.ok()) << run.status();
      LayerRunner& r = **run;
      r.bottom[0] = Normal(48, 5, 3);
      ASSERT_TRUE(r.Forward().ok());
      const int size = across ? 24 : 8;
      for (int g = 0; g < 48 / size; ++g) {
        double mean = 0, variance = 0;
        for (int i = 0; i < size; ++i) mean += r.bottom[0][g * size + i];
        mean /= size;
        for (int i = 0; i < size; ++i) {
          variance += std::pow(r.bottom[0][g * size + i] - mean, 2) / size;
        }
        const double s = scale ? std::sqrt(variance) + 0.01 : 1;
        for (int i = 0; i < size; ++i) {
          EXPECT_NEAR(r.top[0][g * size + i],
                      (r.bottom[0][g * size + i] - mean) / s, 1e-5);
        }
      }
    }
  }
}

TEST(MvnLayer, Gradients) {
  for (const char* fields :
       {"", "across_channels: true", "normalize_variance: false",
        "across_channels: true normalize_variance: false"}) {
    EXPECT_EQ(CheckGradients({.layer = absl::StrCat("type: 'MVN' mvn_param { ",
                                                    fields, " }"),
                              .bottom = {{2, 3, 3, 2}}}),
              "")
        << fields;
  }
  EXPECT_EQ(CheckGradients({.layer = "type: 'MVN'",
                            .bottom = {{3, 5}},
                            .values = {Normal(15, 1)}}),
            "");
  EXPECT_EQ(CodeOf("type: 'MVN'", {{1, 2, 3, 4, 5}}), kInvalid);
}

}  // namespace
}  // namespace cssp::testing
