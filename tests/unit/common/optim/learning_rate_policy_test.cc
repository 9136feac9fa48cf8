#include "common/optim/learning_rate_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/str_format.h"
#include "common/base/logging.h"
#include "google/protobuf/text_format.h"

namespace cssp {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<LearningRatePolicy> Policy(const std::string& text) {
  caffe::SolverParameter solver;
  CHECK(google::protobuf::TextFormat::ParseFromString(text, &solver));
  return LearningRatePolicy::Create(solver);
}

float Rate(const std::string& text, int64_t clock) {
  return Policy(text).value().Rate(clock);
}

TEST(LearningRatePolicyTest, Fixed) {
  EXPECT_EQ(Rate("base_lr: 0.1 lr_policy: 'fixed'", 12345), 0.1f);
}

TEST(LearningRatePolicyTest, Step) {
  const std::string text =
      "base_lr: 1 lr_policy: 'step' gamma: 0.5 stepsize: 10";
  EXPECT_EQ(Rate(text, 0), 1);
  EXPECT_EQ(Rate(text, 9), 1);
  EXPECT_EQ(Rate(text, 10), 0.5f);
  EXPECT_EQ(Rate(text, 35), 0.125f);
  EXPECT_EQ(Policy(text)->CurrentStep(35), 3);
}

TEST(LearningRatePolicyTest, Exp) {
  EXPECT_EQ(Rate("base_lr: 2 lr_policy: 'exp' gamma: 0.5", 3), 0.25f);
}

// Caffe's own log of the LeNet run (lr_policy inv), as it prints them.
TEST(LearningRatePolicyTest, InvAsCaffeLogsIt) {
  const auto policy =
      Policy("base_lr: 0.01 lr_policy: 'inv' gamma: 0.0001 power: 0.75");
  const auto printed = [&](int64_t clock) {
    return absl::StrFormat("%.6g", policy->Rate(clock));
  };
  EXPECT_EQ(printed(100), "0.00992565");
  EXPECT_EQ(printed(300), "0.00978075");
  EXPECT_EQ(printed(500), "0.00964069");
  EXPECT_EQ(printed(9600), "0.00603682");
  EXPECT_EQ(printed(9900), "0.00596843");
  EXPECT_EQ(printed(10000), "0.00594604");
}

TEST(LearningRatePolicyTest, Multistep) {
  const std::string text =
      "base_lr: 1 lr_policy: 'multistep' gamma: 0.5"
      " stepvalue: 10 stepvalue: 20";
  EXPECT_EQ(Rate(text, 9), 1);
  EXPECT_EQ(Rate(text, 10), 0.5f);
  EXPECT_EQ(Rate(text, 19), 0.5f);
  EXPECT_EQ(Rate(text, 20), 0.25f);
  EXPECT_EQ(Rate(text, 1000), 0.25f);
  EXPECT_EQ(Policy(text)->CurrentStep(15), 1);
}

// Caffe takes one step an iteration, whatever the values say.
TEST(LearningRatePolicyTest, MultistepOutOfOrder) {
  const auto policy = Policy(
      "base_lr: 1 lr_policy: 'multistep' gamma: 0.5"
      " stepvalue: 10 stepvalue: 5 stepvalue: 10");
  EXPECT_EQ(policy->CurrentStep(9), 0);
  EXPECT_EQ(policy->CurrentStep(10), 1);
  EXPECT_EQ(policy->CurrentStep(11), 2);
  EXPECT_EQ(policy->CurrentStep(12), 3);
}

TEST(LearningRatePolicyTest, PolyEndsAtZero) {
  const std::string text =
      "base_lr: 4 lr_policy: 'poly' power: 2 max_iter: 100";
  EXPECT_EQ(Rate(text, 0), 4);
  EXPECT_EQ(Rate(text, 50), 1);
  EXPECT_EQ(Rate(text, 100), 0);
  EXPECT_EQ(Rate(text, 101), 0);  // not NaN
}

TEST(LearningRatePolicyTest, Sigmoid) {
  const std::string text =
      "base_lr: 2 lr_policy: 'sigmoid' gamma: -1 stepsize: 10";
  EXPECT_FALSE(Policy(text).ok());
  const std::string rising =
      "base_lr: 2 lr_policy: 'sigmoid' gamma: 0.5 stepsize: 10";
  EXPECT_EQ(Rate(rising, 10), 1);
  EXPECT_FLOAT_EQ(Rate(rising, 12), 2 / (1 + std::exp(-1.0f)));
}

TEST(LearningRatePolicyTest, CosineEndsAtTheFloor) {
  const std::string text =
      "base_lr: 0.5 lr_policy: 'cosine' max_iter: 300 min_lr: 0.1";
  EXPECT_EQ(Rate(text, 0), 0.5f);
  EXPECT_FLOAT_EQ(Rate(text, 100), 0.4f);  // cos(pi / 3) = 1/2
  EXPECT_FLOAT_EQ(Rate(text, 150), 0.3f);
  EXPECT_EQ(Rate(text, 300), 0.1f);
  EXPECT_EQ(Rate(text, 301), 0.1f);
  EXPECT_NEAR(Rate("base_lr: 1 lr_policy: 'cosine' max_iter: 10", 10), 0, 1e-9);
}

TEST(LearningRatePolicyTest, MinLrIsTheFloorOfEveryPolicy) {
  const std::string step =
      "base_lr: 1 lr_policy: 'step' gamma: 0.5 stepsize: 10 min_lr: 0.2";
  EXPECT_EQ(Rate(step, 29), 0.25f);
  EXPECT_EQ(Rate(step, 30), 0.2f);
  EXPECT_EQ(Rate("base_lr: 1 lr_policy: 'poly' power: 1 max_iter: 10 "
                 "min_lr: 0.05",
                 12),
            0.05f);
  // Warm-up may start below it.
  EXPECT_FLOAT_EQ(Rate(step + " rampup_interval: 4", 1), 0.25f);
  EXPECT_FLOAT_EQ(Rate(step + " rampup_interval: 40", 36), 0.18f);
}

TEST(LearningRatePolicyTest, WarmUpRisesToTheSchedule) {
  const std::string text =
      "base_lr: 1 lr_policy: 'fixed' rampup_interval: 4 rampup_lr: 0.2";
  EXPECT_FLOAT_EQ(Rate(text, 0), 0.2f);
  EXPECT_FLOAT_EQ(Rate(text, 1), 0.4f);
  EXPECT_FLOAT_EQ(Rate(text, 3), 0.8f);
  EXPECT_EQ(Rate(text, 4), 1);
}

TEST(LearningRatePolicyTest, NamesWhatIsMissing) {
  const auto message = [](const std::string& text) {
    const auto policy = Policy(text);
    EXPECT_EQ(policy.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(policy.status().message());
  };
  EXPECT_THAT(message("lr_policy: 'fixed'"), HasSubstr("base_lr"));
  EXPECT_THAT(message("base_lr: 1"), HasSubstr("lr_policy"));
  EXPECT_THAT(message("base_lr: 1 lr_policy: 'linear'"),
              HasSubstr("cosine, exp, fixed, inv, multistep, plateau, poly, "
                        "sigmoid, step"));
  EXPECT_THAT(message("base_lr: 1 lr_policy: 'step' gamma: 1"),
              HasSubstr("stepsize"));
  EXPECT_THAT(message("base_lr: 1 lr_policy: 'step' stepsize: 1"),
              HasSubstr("gamma"));
  EXPECT_THAT(message("base_lr: 1 lr_policy: 'inv' gamma: 1"),
              HasSubstr("power"));
  EXPECT_THAT(message("base_lr: 1 lr_policy: 'poly' power: 1"),
              HasSubstr("max_iter"));
  EXPECT_THAT(message("base_lr: 1 lr_policy: 'cosine'"), HasSubstr("max_iter"));
  EXPECT_THAT(message("base_lr: 1 lr_policy: 'plateau' plateau_winsize: 4"),
              HasSubstr("gamma"));
  EXPECT_THAT(message("base_lr: 1 lr_policy: 'fixed' min_lr: 2"),
              HasSubstr("min_lr"));
  EXPECT_THAT(message("base_lr: 1 lr_policy: 'fixed' min_lr: nan"),
              HasSubstr("min_lr"));
  EXPECT_THAT(message("base_lr: 1 lr_policy: 'fixed' rampup_interval: -1"),
              HasSubstr("rampup_interval"));
}

}  // namespace
}  // namespace cssp
