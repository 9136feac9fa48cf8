// Normalize, Axpy, SmoothL1Loss.
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
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

TEST(NormalizeLayer, ForwardIsTheDefinition) {
  for (const bool across : {false, true}) {
    for (const bool shared : {false, true}) {
      auto run = LayerRunner::Create(
          absl::StrCat("type: 'Normalize' norm_param { eps: 0.01 "
                       "across_spatial: ",
                       across ? "true" : "false",
                       " channel_shared: ", shared ? "true" : "false", " }"),
          caffe::TRAIN, {{2, 3, 2, 2}});
      ASSERT_TRUE(run.ok()) << run.status();
      LayerRunner& r = **run;
      r.bottom[0] = Normal(24, 1);
      r.param[0] = shared ? Values{1.5f} : Values{2, -1, 0.5f};
      ASSERT_TRUE(r.Forward().ok());
      for (int i = 0; i < 24; ++i) {
        const int n = i / 12, c = i / 4 % 3;
        double square = 0.01;
        for (int j = n * 12; j < n * 12 + 12; ++j) {
          if (across || j % 4 == i % 4) {
            square += double{r.bottom[0][j]} * r.bottom[0][j];
          }
        }
        EXPECT_NEAR(
            r.top[0][i],
            r.bottom[0][i] / std::sqrt(square) * r.param[0][shared ? 0 : c],
            1e-5);
      }
    }
  }
}

TEST(NormalizeLayer, GradientsAndDefaults) {
  for (const char* fields :
       {"", "across_spatial: false channel_shared: false",
        "across_spatial: false", "channel_shared: false"}) {
    const std::string layer =
        absl::StrCat("type: 'Normalize' norm_param { ", fields, " }");
    for (const Shape& shape : {Shape{2, 3, 2, 3}, Shape{3, 4}}) {
      EXPECT_EQ(CheckGradients({.layer = layer, .bottom = {shape}}), "")
          << fields;
    }
  }
  auto run =
      LayerRunner::Create("type: 'Normalize'", caffe::TRAIN, {{2, 3, 2, 2}});
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ((*run)->layer().param_declarations()[0].filler.value(), 1);
  EXPECT_EQ((*run)->layer().param_declarations()[0].shape, Shape());
  EXPECT_EQ(CodeOf("type: 'Normalize'", {{4}}), kInvalid);
}

TEST(AxpyLayer, ForwardAndGradients) {
  for (const Shape& factors : {Shape{2, 3}, Shape{2, 3, 1, 1}}) {
    const std::vector<Shape> shapes = {factors, {2, 3, 2, 2}, {2, 3, 2, 2}};
    auto run = LayerRunner::Create("type: 'Axpy'", caffe::TRAIN, shapes);
    ASSERT_TRUE(run.ok()) << run.status();
    LayerRunner& r = **run;
    r.bottom = {Normal(6, 1), Normal(24, 2), Normal(24, 3)};
    ASSERT_TRUE(r.Forward().ok());
    for (int i = 0; i < 24; ++i) {
      EXPECT_NEAR(r.top[0][i],
                  double{r.bottom[0][i / 4]} * r.bottom[1][i] + r.bottom[2][i],
                  1e-6);
    }
    EXPECT_EQ(CheckGradients({.layer = "type: 'Axpy'", .bottom = shapes}), "");
  }
  EXPECT_EQ(CodeOf("type: 'Axpy'", {{2, 4}, {2, 3, 2, 2}, {2, 3, 2, 2}}),
            kInvalid);
  EXPECT_EQ(CodeOf("type: 'Axpy'", {{2, 3}, {2, 3, 2, 2}, {2, 3, 4}}),
            kInvalid);
}

TEST(SmoothL1LossLayer, ForwardAndGradients) {
  const Values a = Distinct(24, 1, 0.1f), b = Distinct(24, 2, 0.013f);
  const Values inside = Normal(24, 3), outside = Normal(24, 4);
  for (const double sigma : {1.0, 2.0}) {
    const std::string layer = absl::StrCat(
        "type: 'SmoothL1Loss' smooth_l1_loss_param { sigma: ", sigma, " }");
    for (const int bottoms : {2, 3, 4}) {
      const std::vector<Shape> shapes(bottoms, Shape({3, 2, 2, 2}));
      std::vector<Values> values = {a, b, inside, outside};
      values.resize(bottoms);
      auto run = LayerRunner::Create(layer, caffe::TRAIN, shapes);
      ASSERT_TRUE(run.ok()) << run.status();
      (*run)->bottom = values;
      ASSERT_TRUE((*run)->Forward().ok());
      double sum = 0;
      for (int i = 0; i < 24; ++i) {
        const double w = bottoms > 2 ? inside[i] : 1;
        const double d = std::fabs(w * (double{a[i]} - b[i]));
        const double f = d < 1 / (sigma * sigma) ? 0.5 * sigma * sigma * d * d
                                                 : d - 0.5 / (sigma * sigma);
        sum += (bottoms > 3 ? outside[i] : 1) * f;
      }
      EXPECT_NEAR((*run)->top[0][0], sum / 3, 1e-4);
      EXPECT_EQ(CheckGradients({.layer = layer,
                                .bottom = shapes,
                                .step = 1e-3,
                                .threshold = 5e-3,
                                .values = values}),
                "")
          << sigma << " " << bottoms;
    }
  }
  EXPECT_EQ(CodeOf("type: 'SmoothL1Loss'", {{2, 3}, {2, 4}}), kInvalid);
  EXPECT_EQ(CodeOf("type: 'SmoothL1Loss' smooth_l1_loss_param { sigma: 0 }",
                   {{2, 3}, {2, 3}}),
            kInvalid);
}

}  // namespace
}  // namespace cssp::testing
