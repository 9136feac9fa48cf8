#include <cmath>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/gradient_checker.h"
#include "tests/testing/layer_runner.h"

namespace cssp::testing {
namespace {

constexpr Offer kOffers[] = {Offer::kForceCaffe, Offer::kCaffe,
                             Offer::kBlocked8, Offer::kBlocked16};
const char kLayer[] = "type: 'BatchNorm'";
const Shape kShape = {3, 5, 2, 4};

// Mean and biased variance of channel `c`.
void Measure(const Values& x, int64_t c, double* mean, double* variance) {
  double sum = 0, squares = 0;
  for (int pass = 0; pass < 2; ++pass) {
    for (int64_t n = 0; n < 3; ++n) {
      for (int64_t p = 0; p < 8; ++p) {
        const double v = x[(n * 5 + c) * 8 + p];
        pass == 0 ? sum += v : squares += (v - sum / 24) * (v - sum / 24);
      }
    }
  }
  *mean = sum / 24;
  *variance = squares / 24;
}

TEST(BatchNormLayer, TrainNormalisesTheBatchAndContributes) {
  for (Offer offer : kOffers) {
    auto run = LayerRunner::Create(kLayer, caffe::TRAIN, {kShape}, offer);
    ASSERT_TRUE(run.ok()) << run.status();
    LayerRunner& r = **run;
    r.bottom[0] = Normal(120, 1, 2);
    for (float& v : r.bottom[0]) v += 10;
    ASSERT_TRUE(r.Forward().ok());
    for (int64_t c = 0; c < 5; ++c) {
      double mean, variance;
      Measure(r.bottom[0], c, &mean, &variance);
      EXPECT_NEAR(r.param_gradient[0][c], mean, 1e-4);
      EXPECT_NEAR(r.param_gradient[1][c], variance * 24 / 23, 1e-4);
      for (int64_t n = 0; n < 3; ++n) {
        for (int64_t p = 0; p < 8; ++p) {
          const int64_t i = (n * 5 + c) * 8 + p;
          EXPECT_NEAR(r.top[0][i],
                      (r.bottom[0][i] - mean) / std::sqrt(variance + 1e-5),
                      1e-4);
        }
      }
    }
    EXPECT_EQ(r.param_gradient[2], Values({1}));
  }
}

TEST(BatchNormLayer, TestUsesTheStoredSums) {
  for (Offer offer : kOffers) {
    auto run = LayerRunner::Create(kLayer, caffe::TEST, {kShape}, offer);
    ASSERT_TRUE(run.ok()) << run.status();
    LayerRunner& r = **run;
    r.bottom[0] = Normal(120, 1);
    r.param = {{2, 4, 6, 8, 10}, {4, 8, 12, 16, 20}, {2}};
    ASSERT_TRUE(r.Forward().ok());
    for (int64_t i = 0; i < 120; ++i) {
      const int64_t c = i / 8 % 5;
      EXPECT_NEAR(r.top[0][i],
                  (r.bottom[0][i] - (c + 1)) / std::sqrt(2 * (c + 1) + 1e-5),
                  1e-5);
    }
  }
}

TEST(BatchNormLayer, GivenStatisticsStayAsTheyAreInTraining) {
  auto run = LayerRunner::Create(
      "type: 'BatchNorm' batch_norm_param { use_global_stats: true }",
      caffe::TRAIN, {kShape});
  ASSERT_TRUE(run.ok()) << run.status();
  (*run)->bottom[0] = Normal(120, 1);
  (*run)->param = {{2, 4, 6, 8, 10}, {4, 8, 12, 16, 20}, {2}};
  ASSERT_TRUE((*run)->Forward().ok());
  // fraction * blob + contribution = blob.
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ((*run)->layer().param_declarations()[i].moving_average_fraction,
              1);
    EXPECT_EQ((*run)->param_gradient[i], Values(i < 2 ? 5 : 1, 0.0f));
  }
}

TEST(BatchNormLayer, AFactorOfZeroMeansZeroStatistics) {
  auto run = LayerRunner::Create("type: 'BatchNorm' batch_norm_param { eps: 1 "
                                 "}",
                                 caffe::TEST, {{2, 1}});
  ASSERT_TRUE(run.ok()) << run.status();
  (*run)->bottom[0] = {3, -4};
  ASSERT_TRUE((*run)->Forward().ok());
  EXPECT_EQ((*run)->top[0], Values({3, -4}));
}

TEST(BatchNormLayer, Gradients) {
  EXPECT_EQ(CheckGradients({.layer = kLayer, .bottom = {kShape}}), "");
  EXPECT_EQ(CheckGradients({.layer = kLayer, .bottom = {{6, 3}}}), "");
  EXPECT_EQ(CheckGradients({.layer = kLayer, .bottom = {{7}}}), "");
  // Global statistics: constants.
  EXPECT_EQ(CheckGradients({.layer = "type: 'BatchNorm' batch_norm_param { "
                                     "use_global_stats: true }",
                            .bottom = {kShape},
                            .params = {{1, 2, 3, 4, 5}, {1, 2, 3, 4, 5}, {2}}}),
            "");
}

TEST(BatchNormLayer, InPlaceIsTheSame) {
  std::vector<Values> gradients;
  for (bool in_place : {false, true}) {
    auto run = LayerRunner::Create(kLayer, caffe::TRAIN, {kShape});
    ASSERT_TRUE(run.ok()) << run.status();
    (*run)->set_in_place(in_place);
    (*run)->bottom[0] = Normal(120, 1);
    ASSERT_TRUE((*run)->Forward().ok());
    ASSERT_TRUE((*run)->Backward({Normal(120, 2)}, GradientMode::kWrite).ok());
    gradients.push_back((*run)->bottom_gradient[0]);
  }
  EXPECT_EQ(gradients[0], gradients[1]);
}

const char kFused[] = "type: 'BatchNorm' batch_norm_param { scale_bias: true }";

TEST(BatchNormLayer, FusedScaleAndBias) {
  for (Offer offer : kOffers) {
    auto plain = LayerRunner::Create(kLayer, caffe::TRAIN, {kShape}, offer);
    auto fused = LayerRunner::Create(kFused, caffe::TRAIN, {kShape}, offer);
    ASSERT_TRUE(plain.ok() && fused.ok()) << fused.status();
    ASSERT_EQ((*fused)->param.size(), 5);
    (*plain)->bottom[0] = (*fused)->bottom[0] = Normal(120, 1, 2);
    (*fused)->param[3] = {1, -2, 0, 0.5f, 3};
    (*fused)->param[4] = {0, 1, 2, -3, 4};
    ASSERT_TRUE((*plain)->Forward().ok());
    ASSERT_TRUE((*fused)->Forward().ok());
    for (int i = 0; i < 120; ++i) {
      const int c = i / 8 % 5;
      EXPECT_NEAR((*fused)->top[0][i],
                  (*plain)->top[0][i] * (*fused)->param[3][c] +
                      (*fused)->param[4][c],
                  1e-5);
    }
    EXPECT_EQ((*fused)->param_gradient[0], (*plain)->param_gradient[0]);
    EXPECT_EQ((*fused)->param_gradient[1], (*plain)->param_gradient[1]);
  }
}

TEST(BatchNormLayer, FusedGradientsAndDefaults) {
  EXPECT_EQ(CheckGradients({.layer = kFused, .bottom = {kShape}}), "");
  EXPECT_EQ(CheckGradients({.layer = kFused, .bottom = {{6, 3}}}), "");
  EXPECT_EQ(CheckGradients({.layer = "type: 'BatchNorm' batch_norm_param { "
                                     "scale_bias: true use_global_stats: "
                                     "true }",
                            .bottom = {kShape},
                            .params = {{1, 2, 3, 4, 5},
                                       {1, 2, 3, 4, 5},
                                       {2},
                                       {1, -2, 0, 0.5f, 3},
                                       {0, 1, 2, -3, 4}}}),
            "");
  auto run = LayerRunner::Create(
      "type: 'BatchNorm' batch_norm_param { scale_bias: true } param { "
      "lr_mult: 0 } param { lr_mult: 0 } param { lr_mult: 0 } param { "
      "lr_mult: 1 } param { lr_mult: 2 }",
      caffe::TRAIN, {kShape});
  ASSERT_TRUE(run.ok()) << run.status();
  const auto& params = (*run)->layer().param_declarations();
  EXPECT_EQ(params[3].kind, ParamKind::kGradient);
  EXPECT_EQ(params[3].filler.value(), 1);
  EXPECT_EQ(params[4].filler.value(), 0);
  EXPECT_EQ(params[4].shape, Shape({5}));
}

TEST(BatchNormLayer, StatisticsAreNotLearnt) {
  auto run = LayerRunner::Create(
      "type: 'BatchNorm' batch_norm_param { moving_average_fraction: 0.9 }",
      caffe::TRAIN, {kShape});
  ASSERT_TRUE(run.ok()) << run.status();
  const auto& params = (*run)->layer().param_declarations();
  ASSERT_EQ(params.size(), 3);
  for (const ParamDeclaration& p : params) {
    EXPECT_EQ(p.kind, ParamKind::kStatistic);
    EXPECT_FLOAT_EQ(p.moving_average_fraction, 0.9f);
  }
  EXPECT_FALSE(LayerRunner::Create("type: 'BatchNorm' param { lr_mult: 1 }",
                                   caffe::TRAIN, {kShape})
                   .ok());
}

}  // namespace
}  // namespace cssp::testing
