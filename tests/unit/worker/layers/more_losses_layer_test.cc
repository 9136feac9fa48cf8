// HingeLoss, SigmoidCrossEntropyLoss, PReLU, Reduction, ArgMax.
#include <cmath>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/gradient_checker.h"
#include "tests/testing/layer_runner.h"

namespace cssp::testing {
namespace {

Values Run1(const std::string& layer, std::vector<Shape> shapes,
            std::vector<Values> bottom) {
  auto run = LayerRunner::Create(layer, caffe::TRAIN, shapes);
  EXPECT_TRUE(run.ok()) << run.status();
  (*run)->bottom = bottom;
  EXPECT_TRUE((*run)->Forward().ok());
  return (*run)->top[0];
}

TEST(HingeLossLayer, ForwardAndGradients) {
  // h: own class 1 - x, others 1 + x, never below 0.
  const std::vector<Values> bottom = {{2, 0.5f, -3, -1, 0.5f, 1}, {1, 2}};
  EXPECT_FLOAT_EQ(Run1("type: 'HingeLoss'", {{2, 3}, {2}}, bottom)[0],
                  (3 + 0.5f + 0 + 0 + 1.5f + 0) / 2);
  const std::string l2 = "type: 'HingeLoss' hinge_loss_param { norm: L2 }";
  EXPECT_FLOAT_EQ(Run1(l2, {{2, 3}, {2}}, bottom)[0],
                  (9 + 0.25f + 2.25f) / 2);
  for (const std::string& layer : {std::string("type: 'HingeLoss'"), l2}) {
    // Away from the kinks at 1 and -1.
    EXPECT_EQ(CheckGradients({.layer = layer,
                              .bottom = {{3, 4}, {3}},
                              .values = {Distinct(12, 3, 0.3f), {0, 3, 1}}}),
              "");
  }
}

TEST(HingeLossLayer, ALabelThatIsNoClassIsAnError) {
  auto run =
      LayerRunner::Create("type: 'HingeLoss'", caffe::TRAIN, {{1, 3}, {1}});
  ASSERT_TRUE(run.ok());
  (*run)->bottom[1] = {3};
  EXPECT_EQ((*run)->Forward().code(), absl::StatusCode::kInvalidArgument);
}

double CrossEntropy(double x, double t) {
  const double p = 1 / (1 + std::exp(-x));
  return -(t * std::log(p) + (1 - t) * std::log(1 - p));
}

TEST(SigmoidLossLayer, ForwardAndGradients) {
  const Values x = Normal(6, 1, 2), t = {0, 1, 1, 0, 1, 0};
  const struct {
    const char* loss_param;
    bool ignore_ones;
    double divisor;
  } cases[] = {{"", false, 2},
               {"normalization: FULL", false, 6},
               {"normalization: VALID ignore_label: 1", true, 3},
               {"normalization: NONE", false, 1},
               {"normalize: true ignore_label: 1", true, 3}};
  for (const auto& c : cases) {
    const std::string layer =
        "type: 'SigmoidCrossEntropyLoss' loss_param { " +
        std::string(c.loss_param) + " }";
    double sum = 0;
    for (int i = 0; i < 6; ++i) {
      if (!(c.ignore_ones && t[i] == 1)) sum += CrossEntropy(x[i], t[i]);
    }
    EXPECT_NEAR(Run1(layer, {{2, 3}, {2, 3}}, {x, t})[0], sum / c.divisor,
                1e-5)
        << c.loss_param;
    EXPECT_EQ(CheckGradients({.layer = layer,
                              .bottom = {{2, 3}, {2, 3}},
                              .values = {x, t}}),
              "")
        << c.loss_param;
  }
  EXPECT_TRUE(std::isfinite(Run1("type: 'SigmoidCrossEntropyLoss'",
                                 {{2, 1}, {2, 1}},
                                 {{1e4f, -1e4f}, {0, 1}})[0]));
}

TEST(PReluLayer, ForwardAndGradients) {
  auto run = LayerRunner::Create("type: 'PReLU'", caffe::TRAIN, {{1, 2, 2}});
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ((*run)->layer().param_declarations()[0].filler.value(), 0.25f);
  (*run)->bottom[0] = {1, -2, 3, -4};
  (*run)->param[0] = {0.5, -1};
  ASSERT_TRUE((*run)->Forward().ok());
  EXPECT_EQ((*run)->top[0], Values({1, -1, 3, 4}));
  for (const char* layer :
       {"type: 'PReLU'",
        "type: 'PReLU' prelu_param { channel_shared: true }"}) {
    EXPECT_EQ(CheckGradients({.layer = layer,
                              .bottom = {{2, 5, 2, 3}},
                              .kink_range = 0.011}),
              "");
  }
}

TEST(ReductionLayer, ForwardAndGradients) {
  const Values x = {1, -2, 3, -4, 5, 6};
  const struct {
    const char* fields;
    Values top;
  } cases[] = {{"", {9}},
               {"operation: ASUM axis: 1", {6, 15}},
               {"operation: SUMSQ axis: 1 coeff: 2", {28, 154}},
               {"operation: MEAN axis: -1 coeff: 3", {2, 7}},
               {"operation: SUM axis: 1", {2, 7}}};
  for (const auto& c : cases) {
    const std::string layer =
        "type: 'Reduction' reduction_param { " + std::string(c.fields) + " }";
    EXPECT_EQ(Run1(layer, {{2, 3}}, {x}), c.top) << c.fields;
    EXPECT_EQ(CheckGradients({.layer = layer,
                              .bottom = {{2, 3, 2, 2}},
                              .kink_range = 0.011}),
              "")
        << c.fields;
  }
}

TEST(ArgMaxLayer, Forward) {
  const Values x = {1, 5, 3, 4, 4, 2};
  EXPECT_EQ(Run1("type: 'ArgMax'", {{2, 3}}, {x}), Values({1, 1}));
  EXPECT_EQ(Run1("type: 'ArgMax' argmax_param { top_k: 2 out_max_val: true }",
                 {{2, 3}}, {x}),
            Values({1, 2, 5, 3, 1, 0, 4, 4}));
  EXPECT_EQ(Run1("type: 'ArgMax' argmax_param { axis: 0 }", {{2, 3}}, {x}),
            Values({1, 0, 0}));
  EXPECT_EQ(Run1("type: 'ArgMax' argmax_param { axis: 1 out_max_val: true }",
                 {{2, 3}}, {x}),
            Values({5, 4}));
  EXPECT_FALSE(LayerRunner::Create("type: 'ArgMax' argmax_param { top_k: 4 }",
                                   caffe::TRAIN, {{2, 3}})
                   .ok());
}

}  // namespace
}  // namespace cssp::testing
