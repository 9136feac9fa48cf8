#include <algorithm>
#include <cfloat>
#include <cmath>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/gradient_checker.h"
#include "tests/testing/layer_runner.h"

namespace cssp::testing {
namespace {

// (2, 4 classes, 3 positions), some labels ignored.
const Shape kScores = {2, 4, 3};
const Shape kLabels = {2, 3};
const Values kLabelValues = {0, 3, 1, 2, 1, 1};

std::string Text(absl::string_view loss_param, absl::string_view more = "") {
  return absl::StrCat("type: 'SoftmaxWithLoss' ", more, " loss_param { ",
                      loss_param, " }");
}

double Probability(const Values& x, int n, int c, int i) {
  double sum = 0;
  for (int k = 0; k < 4; ++k) sum += std::exp(double{x[(n * 4 + k) * 3 + i]});
  return std::exp(double{x[(n * 4 + c) * 3 + i]}) / sum;
}

// The summed loss and the number of labels in it.
double Sum(const Values& x, std::optional<int> ignore, int* valid) {
  double loss = 0;
  *valid = 0;
  for (int n = 0; n < 2; ++n) {
    for (int i = 0; i < 3; ++i) {
      const int label = static_cast<int>(kLabelValues[n * 3 + i]);
      if (ignore && label == *ignore) continue;
      loss -= std::log(Probability(x, n, label, i));
      ++*valid;
    }
  }
  return loss;
}

struct Case {
  const char* name;
  const char* loss_param;
  std::optional<int> ignore;
  double divisor;  // < 0: the number of valid labels
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

const Case kCases[] = {
    {"Default", "", std::nullopt, 6},
    {"DefaultIgnores", "ignore_label: 1", 1, -1},
    {"Valid", "normalization: VALID ignore_label: 1", 1, -1},
    {"Full", "normalization: FULL ignore_label: 1", 1, 6},
    {"BatchSize", "normalization: BATCH_SIZE ignore_label: 1", 1, 2},
    {"None", "normalization: NONE ignore_label: 1", 1, 1},
    {"LegacyOn", "normalize: true ignore_label: 1", 1, -1},
    {"LegacyOff", "normalize: false ignore_label: 1", 1, 2},
    {"LegacyLoses", "normalize: false normalization: FULL", std::nullopt, 6},
};

class SoftmaxLossLayerTest : public ::testing::TestWithParam<Case> {};

TEST_P(SoftmaxLossLayerTest, ForwardIsTheDefinition) {
  const Case& c = GetParam();
  auto run = LayerRunner::Create(Text(c.loss_param, "top: 'l' top: 'p'"),
                                 caffe::TRAIN, {kScores, kLabels});
  ASSERT_TRUE(run.ok()) << run.status();
  LayerRunner& r = **run;
  EXPECT_EQ(r.top_shapes()[0], Shape());
  r.bottom[0] = Normal(24, 1, 2);
  r.bottom[1] = kLabelValues;
  ASSERT_TRUE(r.Forward().ok());
  int valid;
  const double sum = Sum(r.bottom[0], c.ignore, &valid);
  EXPECT_NEAR(r.top[0][0], sum / (c.divisor < 0 ? valid : c.divisor), 1e-5);
  for (int n = 0; n < 2; ++n)
    for (int k = 0; k < 4; ++k)
      for (int i = 0; i < 3; ++i)
        EXPECT_NEAR(r.top[1][(n * 4 + k) * 3 + i],
                    Probability(r.bottom[0], n, k, i), 1e-6);
}

TEST_P(SoftmaxLossLayerTest, Gradients) {
  EXPECT_EQ(CheckGradients({.layer = Text(GetParam().loss_param),
                            .bottom = {kScores, kLabels},
                            .values = {{}, kLabelValues}}),
            "");
}

INSTANTIATE_TEST_SUITE_P(
    All, SoftmaxLossLayerTest, ::testing::ValuesIn(kCases),
    [](const auto& info) { return std::string(info.param.name); });

TEST(SoftmaxLossLayer, LabelSmoothingSpreadsTheTarget) {
  const double e = 0.1;
  const Values x = Normal(24, 1, 2);
  for (const bool ignores : {false, true}) {
    const std::string layer =
        Text(ignores ? "label_smoothing: 0.1 ignore_label: 1"
                     : "label_smoothing: 0.1");
    auto run = LayerRunner::Create(layer, caffe::TRAIN, {kScores, kLabels});
    ASSERT_TRUE(run.ok()) << run.status();
    (*run)->bottom = {x, kLabelValues};
    ASSERT_TRUE((*run)->Forward().ok());
    double sum = 0;
    int valid = 0;
    for (int i = 0; i < 6; ++i) {
      const int label = static_cast<int>(kLabelValues[i]);
      if (ignores && label == 1) continue;
      ++valid;
      for (int c = 0; c < 4; ++c) {
        const double target = (c == label ? 1 - e : 0) + e / 4;
        sum -= target * std::log(Probability(x, i / 3, c, i % 3));
      }
    }
    EXPECT_NEAR((*run)->top[0][0], sum / valid, 1e-5);
    EXPECT_EQ(CheckGradients({.layer = layer,
                              .bottom = {kScores, kLabels},
                              .values = {x, kLabelValues}}),
              "");
  }
  for (const char* wrong : {"label_smoothing: 1", "label_smoothing: -0.1",
                            "label_smoothing: nan"}) {
    EXPECT_EQ(LayerRunner::Create(Text(wrong), caffe::TRAIN, {kScores, kLabels})
                  .status()
                  .code(),
              absl::StatusCode::kInvalidArgument)
        << wrong;
  }
}

TEST(SoftmaxLossLayer, AllIgnoredIsZero) {
  auto run = LayerRunner::Create(Text("ignore_label: 2"), caffe::TRAIN,
                                 {{3, 4}, {3}});
  ASSERT_TRUE(run.ok()) << run.status();
  (*run)->bottom[0] = Normal(12, 1);
  (*run)->bottom[1] = {2, 2, 2};
  ASSERT_TRUE((*run)->Forward().ok());
  EXPECT_EQ((*run)->top[0][0], 0);
  ASSERT_TRUE((*run)->Backward({{1}}, GradientMode::kWrite).ok());
  EXPECT_EQ((*run)->bottom_gradient[0], Values(12, 0.0f));
}

TEST(SoftmaxLossLayer, AxisIsHonoured) {
  EXPECT_EQ(CheckGradients({.layer = "type: 'SoftmaxWithLoss' softmax_param { "
                                     "axis: -1 }",
                            .bottom = {{2, 3, 4}, {2, 3}},
                            .values = {{}, kLabelValues}}),
            "");
}

TEST(SoftmaxLossLayer, AnImpossibleClassCostsLogOfTheLeastFloat) {
  auto run =
      LayerRunner::Create(Text(""), caffe::TRAIN, {{1, 2}, {1}});
  ASSERT_TRUE(run.ok()) << run.status();
  (*run)->bottom[0] = {1000, -1000};
  (*run)->bottom[1] = {1};
  ASSERT_TRUE((*run)->Forward().ok());
  EXPECT_NEAR((*run)->top[0][0], -std::log(FLT_MIN), 1e-4);
}

TEST(SoftmaxLossLayer, ALabelThatIsNoClassIsAnError) {
  for (float label : {-1.0f, 4.0f, 1e20f, std::nanf("")}) {
    auto run =
        LayerRunner::Create(Text(""), caffe::TRAIN, {{2, 4}, {2}});
    ASSERT_TRUE(run.ok()) << run.status();
    (*run)->bottom[1] = {0, label};
    const absl::Status status = (*run)->Forward();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("item 1"));
  }
}

TEST(SoftmaxLossLayer, LabelsMustMatch) {
  EXPECT_FALSE(
      LayerRunner::Create(Text(""), caffe::TRAIN, {{2, 4}, {3}}).ok());
}

TEST(SoftmaxLayer, ForwardAndGradients) {
  auto run = LayerRunner::Create("type: 'Softmax'", caffe::TRAIN, {kScores});
  ASSERT_TRUE(run.ok()) << run.status();
  (*run)->bottom[0] = Normal(24, 4, 3);
  ASSERT_TRUE((*run)->Forward().ok());
  for (int n = 0; n < 2; ++n)
    for (int k = 0; k < 4; ++k)
      for (int i = 0; i < 3; ++i)
        EXPECT_NEAR((*run)->top[0][(n * 4 + k) * 3 + i],
                    Probability((*run)->bottom[0], n, k, i), 1e-6);
  EXPECT_EQ(CheckGradients({.layer = "type: 'Softmax'", .bottom = {kScores}}),
            "");
  EXPECT_EQ(
      CheckGradients({.layer = "type: 'Softmax' softmax_param { axis: 3 }",
                      .bottom = {{2, 3, 2, 4}}}),
      "");
}

}  // namespace
}  // namespace cssp::testing
