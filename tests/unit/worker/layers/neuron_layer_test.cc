#include <cmath>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/gradient_checker.h"
#include "tests/testing/layer_runner.h"

namespace cssp::testing {
namespace {

struct Case {
  const char* name;
  const char* layer;
  std::function<double(double)> function;
  bool kink_at_zero = false;
  float shift = 0;  // of the inputs, where the function wants positive ones
};

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

const Case kCases[] = {
    {"Relu", "type: 'ReLU'", [](double x) { return x > 0 ? x : 0; }, true},
    {"ReluLeaky", "type: 'ReLU' relu_param { negative_slope: 0.1 }",
     [](double x) { return x > 0 ? x : 0.1 * x; }, true},
    {"ReluFolded", "type: 'ReLU' relu_param { negative_slope: -0.5 }",
     [](double x) { return x > 0 ? x : -0.5 * x; }, true},
    {"Relu6", "type: 'ReLU6'",
     [](double x) { return std::min(std::max(x, 0.0), 6.0); }, true},
    {"TanH", "type: 'TanH'", [](double x) { return std::tanh(x); }},
    {"Sigmoid", "type: 'Sigmoid'", Sigmoid},
    {"AbsVal", "type: 'AbsVal'", [](double x) { return std::fabs(x); }, true},
    {"PowerLine", "type: 'Power' power_param { scale: 2 shift: 3 }",
     [](double x) { return 3 + 2 * x; }},
    {"PowerCube", "type: 'Power' power_param { power: 3 scale: .5 shift: .3 }",
     [](double x) { return std::pow(.3 + .5 * x, 3); }},
    {"PowerSquare", "type: 'Power' power_param { power: 2 scale: .5 }",
     [](double x) { return .25 * x * x; }},
    {"PowerRoot",
     "type: 'Power' power_param { power: 0.37 scale: .5 shift: 1 }",
     [](double x) { return std::pow(1 + .5 * x, 0.37); }, false, 4},
    {"PowerZero", "type: 'Power' power_param { power: 0 }",
     [](double x) { return 1; }},
    {"Exp", "type: 'Exp'", [](double x) { return std::exp(x); }},
    {"ExpBase", "type: 'Exp' exp_param { base: 2 scale: .5 shift: 1 }",
     [](double x) { return std::pow(2, 1 + .5 * x); }},
    {"Log", "type: 'Log'", [](double x) { return std::log(x); }, false, 6},
    {"LogBase", "type: 'Log' log_param { base: 10 scale: 2 shift: 1 }",
     [](double x) { return std::log10(1 + 2 * x); }, false, 6},
    {"Bnll", "type: 'BNLL'", [](double x) { return std::log1p(std::exp(x)); }},
    {"Elu", "type: 'ELU' elu_param { alpha: 0.5 }",
     [](double x) { return x > 0 ? x : .5 * std::expm1(x); }, true},
    {"Swish", "type: 'Swish' swish_param { beta: 1.5 }",
     [](double x) { return x * Sigmoid(1.5 * x); }},
};

class NeuronLayerTest : public ::testing::TestWithParam<Case> {
 protected:
  Values Inputs(int64_t count) const {
    Values values = Normal(count, 3);
    for (float& v : values) v += GetParam().shift;
    return values;
  }
};

TEST_P(NeuronLayerTest, ForwardIsTheFunction) {
  const Case& c = GetParam();
  for (Offer offer : {Offer::kCaffe, Offer::kBlocked8, Offer::kBlocked16}) {
    auto run = LayerRunner::Create(c.layer, caffe::TRAIN, {{2, 5, 3, 2}},
                                   offer);
    ASSERT_TRUE(run.ok()) << run.status();
    (*run)->bottom[0] = Inputs(60);
    ASSERT_TRUE((*run)->Forward().ok());
    for (size_t i = 0; i < 60; ++i) {
      const double y = c.function((*run)->bottom[0][i]);
      EXPECT_NEAR((*run)->top[0][i], y, 1e-5 * std::max(1.0, std::fabs(y)));
    }
  }
}

TEST_P(NeuronLayerTest, Gradients) {
  const Case& c = GetParam();
  EXPECT_EQ(CheckGradients({.layer = c.layer,
                            .bottom = {{2, 5, 3, 2}},
                            .threshold = 2e-3,
                            .kink_range = c.kink_at_zero ? 0.011 : -1,
                            .values = {Inputs(60)}}),
            "");
}

TEST_P(NeuronLayerTest, InPlaceIsTheSame) {
  const Case& c = GetParam();
  std::vector<Values> tops, gradients;
  for (bool in_place : {false, true}) {
    auto run = LayerRunner::Create(c.layer, caffe::TRAIN, {{2, 5, 3, 2}});
    ASSERT_TRUE(run.ok()) << run.status();
    // What reads its bottom in backward says so and is kept apart by the plan.
    if (!(*run)->layer().Traits().in_place) return;
    (*run)->set_in_place(in_place);
    (*run)->bottom[0] = Inputs(60);
    ASSERT_TRUE((*run)->Forward().ok());
    ASSERT_TRUE((*run)->Backward({Normal(60, 8)}, GradientMode::kWrite).ok());
    tops.push_back((*run)->top[0]);
    gradients.push_back((*run)->bottom_gradient[0]);
  }
  EXPECT_EQ(tops[0], tops[1]);
  EXPECT_EQ(gradients[0], gradients[1]);
}

INSTANTIATE_TEST_SUITE_P(
    All, NeuronLayerTest, ::testing::ValuesIn(kCases),
    [](const auto& info) { return std::string(info.param.name); });

TEST(NeuronLayer, SigmoidOfGreatValuesIsFinite) {
  auto run = LayerRunner::Create("type: 'Sigmoid'", caffe::TRAIN, {{4}});
  ASSERT_TRUE(run.ok()) << run.status();
  (*run)->bottom[0] = {-1e9f, -100, 100, 1e9f};
  ASSERT_TRUE((*run)->Forward().ok());
  EXPECT_EQ((*run)->top[0], Values({0, 0, 1, 1}));
}

TEST(NeuronLayer, ClipAndThreshold) {
  auto clip = LayerRunner::Create("type: 'Clip' clip_param { min: -1 max: 2 }",
                                  caffe::TRAIN, {{4}});
  ASSERT_TRUE(clip.ok()) << clip.status();
  (*clip)->bottom[0] = {-3, -1, 1, 5};
  ASSERT_TRUE((*clip)->Forward().ok());
  EXPECT_EQ((*clip)->top[0], Values({-1, -1, 1, 2}));
  ASSERT_TRUE((*clip)->Backward({{1, 1, 1, 1}}, GradientMode::kWrite).ok());
  EXPECT_EQ((*clip)->bottom_gradient[0], Values({0, 1, 1, 0}));

  auto step = LayerRunner::Create(
      "type: 'Threshold' threshold_param { threshold: 0.5 }", caffe::TRAIN,
      {{3}});
  ASSERT_TRUE(step.ok()) << step.status();
  (*step)->bottom[0] = {0.4f, 0.5f, 0.6f};
  ASSERT_TRUE((*step)->Forward().ok());
  EXPECT_EQ((*step)->top[0], Values({0, 0, 1}));
  EXPECT_FALSE((*step)->layer().propagates_to(0));
}

TEST(NeuronLayer, Relu6EndsAt6) {
  auto run = LayerRunner::Create("type: 'ReLU6'", caffe::TRAIN, {{5}});
  ASSERT_TRUE(run.ok()) << run.status();
  (*run)->bottom[0] = {-1, 0.5f, 5.9f, 6.1f, 100};
  ASSERT_TRUE((*run)->Forward().ok());
  EXPECT_EQ((*run)->top[0], Values({0, 0.5f, 5.9f, 6, 6}));
  ASSERT_TRUE(
      (*run)->Backward({{1, 1, 1, 1, 1}}, GradientMode::kWrite).ok());
  EXPECT_EQ((*run)->bottom_gradient[0], Values({0, 1, 1, 0, 0}));
}

TEST(NeuronLayer, RefusesWhatIsWrong) {
  for (const char* layer : {"type: 'Clip'", "type: 'Exp' exp_param { base: 0 }",
                            "type: 'Log' log_param { base: 1 }",
                            "type: 'Log' log_param { base: -2 }"}) {
    EXPECT_FALSE(LayerRunner::Create(layer, caffe::TRAIN, {{3}}).ok())
        << layer;
  }
}

}  // namespace
}  // namespace cssp::testing
