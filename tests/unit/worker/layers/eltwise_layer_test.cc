// Eltwise and EuclideanLoss.
#include <algorithm>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/gradient_checker.h"
#include "tests/testing/layer_runner.h"

namespace cssp::testing {
namespace {

const Shape kShape = {2, 5, 2, 3};

std::string Text(const std::string& fields) {
  return "type: 'Eltwise' eltwise_param { " + fields + " }";
}

TEST(EltwiseLayer, ForwardIsTheDefinition) {
  for (Offer offer : {Offer::kForceCaffe, Offer::kBlocked8,
                      Offer::kBlocked16}) {
    for (const char* operation :
         {"PROD", "SUM coeff: 2 coeff: -1 coeff: .5", "MAX"}) {
      auto run = LayerRunner::Create(
          Text(std::string("operation: ") + operation), caffe::TRAIN,
          {kShape, kShape, kShape}, offer);
      ASSERT_TRUE(run.ok()) << run.status();
      LayerRunner& r = **run;
      r.bottom = {Normal(60, 1), Normal(60, 2), Normal(60, 3)};
      ASSERT_TRUE(r.Forward().ok());
      for (int i = 0; i < 60; ++i) {
        const float a = r.bottom[0][i], b = r.bottom[1][i], c = r.bottom[2][i];
        const float y = operation[0] == 'P'   ? a * b * c
                        : operation[0] == 'S' ? 2 * a - b + .5f * c
                                              : std::max({a, b, c});
        EXPECT_NEAR(r.top[0][i], y, 1e-5);
      }
    }
  }
}

TEST(EltwiseLayer, Gradients) {
  for (const char* fields :
       {"operation: PROD", "operation: PROD stable_prod_grad: false",
        "operation: SUM", "operation: SUM coeff: 2 coeff: -1 coeff: .5"}) {
    GradientCheck check{.layer = Text(fields),
                        .bottom = {kShape, kShape, kShape}};
    // Far from zero: the unstable gradient divides.
    for (int b = 0; b < 3; ++b) {
      check.values.push_back(Normal(60, b));
      for (float& v : check.values.back()) v += v > 0 ? 0.5f : -0.5f;
    }
    EXPECT_EQ(CheckGradients(check), "") << fields;
  }
  // MAX: bottoms further apart than the step.
  const Values all = Distinct(180, 4);
  EXPECT_EQ(CheckGradients(
                {.layer = Text("operation: MAX"),
                 .bottom = {kShape, kShape, kShape},
                 .values = {{all.begin(), all.begin() + 60},
                            {all.begin() + 60, all.begin() + 120},
                            {all.begin() + 120, all.end()}}}),
            "");
}

TEST(EltwiseLayer, TiesGoToBottom1ThenToTheFirst) {
  auto run = LayerRunner::Create(Text("operation: MAX coeff: 1 coeff: 1 "
                                      "coeff: 1"),
                                 caffe::TRAIN, {{3}, {3}, {3}});
  ASSERT_TRUE(run.ok()) << run.status();
  (*run)->bottom = {{1, 1, 2}, {1, 0, 2}, {1, 1, 3}};
  ASSERT_TRUE((*run)->Forward().ok());
  ASSERT_TRUE((*run)->Backward({{5, 6, 7}}, GradientMode::kWrite).ok());
  EXPECT_EQ((*run)->bottom_gradient[0], Values({0, 6, 0}));
  EXPECT_EQ((*run)->bottom_gradient[1], Values({5, 0, 0}));
  EXPECT_EQ((*run)->bottom_gradient[2], Values({0, 0, 7}));
}

TEST(EltwiseLayer, RefusesWhatIsWrong) {
  EXPECT_FALSE(LayerRunner::Create(Text("coeff: 1"), caffe::TRAIN,
                                   {kShape, kShape})
                   .ok());
  EXPECT_FALSE(LayerRunner::Create(Text("operation: PROD coeff: 1 coeff: 1"),
                                   caffe::TRAIN, {kShape, kShape})
                   .ok());
  EXPECT_FALSE(
      LayerRunner::Create(Text(""), caffe::TRAIN, {kShape, {2, 5}}).ok());
}

TEST(EuclideanLossLayer, ForwardAndGradients) {
  auto run = LayerRunner::Create("type: 'EuclideanLoss'", caffe::TRAIN,
                                 {{2, 3}, {2, 3}});
  ASSERT_TRUE(run.ok()) << run.status();
  (*run)->bottom = {{1, 2, 3, 4, 5, 6}, {1, 0, 3, 1, 5, 7}};
  ASSERT_TRUE((*run)->Forward().ok());
  EXPECT_FLOAT_EQ((*run)->top[0][0], (4 + 9 + 1) / 4.0f);
  EXPECT_EQ(CheckGradients({.layer = "type: 'EuclideanLoss'",
                            .bottom = {{4, 3, 2, 2}, {4, 12}}}),
            "");
  EXPECT_FALSE(LayerRunner::Create("type: 'EuclideanLoss'", caffe::TRAIN,
                                   {{2, 3}, {3, 2}})
                   .ok());
}

}  // namespace
}  // namespace cssp::testing
