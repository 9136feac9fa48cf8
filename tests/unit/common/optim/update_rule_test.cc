#include "common/optim/update_rule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "common/base/logging.h"
#include "google/protobuf/text_format.h"

#include "tests/testing/formed_gradient.h"

namespace cssp {
namespace {

using ::testing::HasSubstr;

caffe::SolverParameter Solver(const std::string& text) {
  caffe::SolverParameter solver;
  CHECK(google::protobuf::TextFormat::ParseFromString(text, &solver));
  return solver;
}

// One weight through one step; h and h2 are the histories, in and out.
struct OneWeight {
  float w, g, h, h2 = 0;
};

OneWeight Step(const std::string& solver, const UpdateStep& step, float lr_mult,
               OneWeight x) {
  const auto rule = UpdateRule::Create(Solver(solver)).value();
  float* history[2] = {&x.h, &x.h2};
  rule->Apply(
      step, {lr_mult, 1}, GradientForm(),
      {.weights_in = absl::MakeConstSpan(&x.w, 1),
       .weights_out = absl::MakeSpan(&x.w, 1),
       .history = absl::MakeConstSpan(history, rule->num_history()),
       .gradient = absl::MakeConstSpan(&x.g, 1)});
  return x;
}

TEST(UpdateRuleTest, SgdByHand) {
  const OneWeight x = Step("type: 'SGD' momentum: 0.5", {0.25f, 0}, 2,
                           {.w = 1, .g = 3, .h = 4});
  EXPECT_EQ(x.h, 3.5f);  // 0.5 * 4 + 0.25 * 2 * 3
  EXPECT_EQ(x.w, -2.5f);
}

// Coast(n) is what n updates without gradient do.
TEST(UpdateRuleTest, CoastsAsItSteps) {
  for (const char* solver : {"type: 'SGD' momentum: 0.9",
                             "type: 'Nesterov' momentum: 0.9",
                             "type: 'SGD' momentum: 0", "type: 'SGD' momentum: 1"}) {
    const auto rule = UpdateRule::Create(Solver(solver)).value();
    OneWeight x{.w = 1, .g = 0, .h = 0.5f};
    for (int n = 1; n <= 8; ++n) {
      x = Step(solver, {0.1f, 0}, 1, x);
      EXPECT_NEAR(x.w, 1 - rule->Coast(n) * 0.5f, 1e-5) << solver << " " << n;
    }
    EXPECT_EQ(rule->Coast(0), 0);
  }
}

TEST(UpdateRuleTest, NesterovByHand) {
  const OneWeight x = Step("type: 'Nesterov' momentum: 0.5", {0.25f, 0}, 2,
                           {.w = 1, .g = 2, .h = 1});
  EXPECT_EQ(x.h, 1.5f);    // 0.5 * 1 + 0.5 * 2
  EXPECT_EQ(x.w, -0.75f);  // 1 - (1.5 * 1.5 - 0.5 * 1)
}

TEST(UpdateRuleTest, AdaGradByHand) {
  const OneWeight x = Step("type: 'AdaGrad' delta: 0.5", {0.1f, 0}, 1,
                           {.w = 1, .g = 1, .h = 3});
  EXPECT_EQ(x.h, 4);
  EXPECT_FLOAT_EQ(x.w, 0.96f);  // 1 - 0.1 * 1 / (2 + 0.5)
}

TEST(UpdateRuleTest, RmsPropByHand) {
  const OneWeight x = Step("type: 'RMSProp' rms_decay: 0.75 delta: 2",
                           {0.1f, 0}, 1, {.w = 1, .g = 4, .h = 0});
  EXPECT_EQ(x.h, 4);           // 0.25 * 16
  EXPECT_FLOAT_EQ(x.w, 0.9f);  // 1 - 0.1 * 4 / (2 + 2)
}

TEST(UpdateRuleTest, AdaDeltaByHand) {
  const OneWeight x = Step("type: 'AdaDelta' momentum: 0.5 delta: 1", {0.1f, 0},
                           1, {.w = 1, .g = 2, .h = 4, .h2 = 1});
  EXPECT_EQ(x.h, 4);            // 0.5 * 4 + 0.5 * 4
  EXPECT_FLOAT_EQ(x.h2, 1.3f);  // step^2 = 4 * (1 + 1) / (1 + 4) = 1.6
  EXPECT_FLOAT_EQ(x.w, 1 - 0.1f * 1.2649111f);
}

TEST(UpdateRuleTest, AdamByHandCountsUpdatesFromOne) {
  const OneWeight x =
      Step("type: 'Adam' momentum: 0.5 momentum2: 0.75 delta: 0", {0.1f, 1}, 1,
           {.w = 1, .g = 2, .h = 1, .h2 = 4});
  EXPECT_EQ(x.h, 1.5f);
  EXPECT_EQ(x.h2, 4);
  // t = 2: sqrt(1 - 0.75^2) / (1 - 0.5^2) = 0.8819171; m / sqrt(v) = 0.75.
  EXPECT_FLOAT_EQ(x.w, 1 - 0.1f * 0.8819171f * 0.75f);
}

TEST(UpdateRuleTest, HistoriesAndLinearity) {
  const auto histories = [](const char* type) {
    return UpdateRule::Create(Solver(absl::StrCat("type: '", type, "'")))
        .value()
        ->num_history();
  };
  for (const char* type : {"SGD", "Nesterov", "AdaGrad", "RMSProp"})
    EXPECT_EQ(histories(type), 1) << type;
  EXPECT_EQ(histories("AdaDelta"), 2);
  EXPECT_EQ(histories("Adam"), 2);
  for (const char* type : {"SGD", "Nesterov"})
    EXPECT_TRUE(UpdateRule::Create(Solver(absl::StrCat("type: '", type, "'")))
                    .value()
                    ->linear());
}

TEST(UpdateRuleTest, RefusesWhatCaffeRefuses) {
  const auto message = [](const std::string& solver) {
    const auto rule = UpdateRule::Create(Solver(solver));
    EXPECT_EQ(rule.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(rule.status().message());
  };
  EXPECT_THAT(message("type: 'Sgd'"),
              HasSubstr("AdaDelta, AdaGrad, Adam, Nesterov, RMSProp, SGD"));
  EXPECT_THAT(message("type: 'AdaGrad' momentum: 0.9"), HasSubstr("momentum"));
  EXPECT_THAT(message("type: 'RMSProp' momentum: 0.9"), HasSubstr("momentum"));
  EXPECT_THAT(message("type: 'RMSProp' rms_decay: 1"), HasSubstr("rms_decay"));
  EXPECT_THAT(message("type: 'Adam' momentum: 1"), HasSubstr("momentum"));
  EXPECT_THAT(message("type: 'SGD' momentum: nan"), HasSubstr("momentum"));
}

// A net's worth of values, odd in length so that every vector width has a rest.
struct Arrays {
  explicit Arrays(int n) : w(n), g(n), h(n), h2(n) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    for (int i = 0; i < n; ++i) {
      w[i] = normal(random);
      g[i] = normal(random);
      h[i] = std::fabs(normal(random));
      h2[i] = std::fabs(normal(random));
    }
  }
  std::vector<float> w, g, h, h2;
};

void ApplyRange(const UpdateRule& rule, int from, int count, Arrays* a,
                float* out, const GradientForm& form = GradientForm()) {
  float* history[2] = {a->h.data() + from, a->h2.data() + from};
  rule.Apply({0.01f, 3}, {2, 1}, form,
             {.weights_in = absl::MakeConstSpan(a->w.data() + from, count),
              .weights_out = absl::MakeSpan(out + from, count),
              .history = absl::MakeConstSpan(history, rule.num_history()),
              .gradient = absl::MakeConstSpan(a->g.data() + from, count)});
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

class EveryRuleTest : public ::testing::TestWithParam<const char*> {};

// Vector code on whatever this machine has, against one element at a time and
// against pieces of odd lengths.
TEST_P(EveryRuleTest, BitsDoNotDependOnTheCutting) {
  constexpr int kCount = 1037;
  const auto rule = UpdateRule::Create(Solver(GetParam())).value();
  Arrays whole(kCount), single(kCount), pieces(kCount), in_place(kCount);
  std::vector<float> whole_out(kCount), single_out(kCount), piece_out(kCount);
  ApplyRange(*rule, 0, kCount, &whole, whole_out.data());
  for (int i = 0; i < kCount; ++i)
    ApplyRange(*rule, i, 1, &single, single_out.data());
  for (int from = 0, n = 1; from < kCount; from += n, n = n * 3 + 1)
    ApplyRange(*rule, from, std::min(n, kCount - from), &pieces,
               piece_out.data());
  ApplyRange(*rule, 0, kCount, &in_place, in_place.w.data());
  EXPECT_TRUE(SameBits(whole_out, single_out));
  EXPECT_TRUE(SameBits(whole.h, single.h));
  EXPECT_TRUE(SameBits(whole.h2, single.h2));
  EXPECT_TRUE(SameBits(whole_out, piece_out));
  EXPECT_TRUE(SameBits(whole.h, pieces.h));
  EXPECT_TRUE(SameBits(whole_out, in_place.w));
}

// Forming the gradient inside the rule's loop gives the bits that forming it
// first gives.
TEST_P(EveryRuleTest, FormsTheGradientAsItIsRead) {
  constexpr int kCount = 1037;
  using Kind = GradientForm::Kind;
  const auto rule = UpdateRule::Create(Solver(GetParam())).value();
  for (Kind kind : {Kind::kAsItIs, Kind::kScaled, Kind::kL2, Kind::kL1}) {
    const GradientForm form = {kind, 0.37f, 0.011f};
    Arrays formed(kCount), first(kCount);
    formed.w[5] = first.w[5] = 0;
    first.g = Formed(form, first.w, first.g);
    std::vector<float> formed_out(kCount), first_out(kCount);
    ApplyRange(*rule, 0, kCount, &formed, formed_out.data(), form);
    ApplyRange(*rule, 0, kCount, &first, first_out.data());
    EXPECT_TRUE(SameBits(formed_out, first_out)) << static_cast<int>(kind);
    EXPECT_TRUE(SameBits(formed.h, first.h)) << static_cast<int>(kind);
    EXPECT_TRUE(SameBits(formed.h2, first.h2)) << static_cast<int>(kind);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Rules, EveryRuleTest,
    ::testing::Values("type: 'SGD' momentum: 0.9",
                      "type: 'Nesterov' momentum: 0.9", "type: 'AdaGrad'",
                      "type: 'RMSProp' rms_decay: 0.98",
                      "type: 'AdaDelta' momentum: 0.95 delta: 1e-6",
                      "type: 'Adam' momentum: 0.9"));

// momentum * h and rate * g are 1 + 2^-11 + 2^-24 and its negative: as floats
// they cancel, while a fused multiply-add of either would leave 2^-24.
TEST(UpdateRuleTest, NothingIsFused) {
  constexpr int kCount = 67;
  constexpr float kFactor = 1 + 0x1p-12f;
  std::vector<float> w(kCount, 1), out(kCount), h(kCount, kFactor),
      g(kCount, -kFactor);
  caffe::SolverParameter solver;
  solver.set_momentum(kFactor);
  const auto rule = UpdateRule::Create(solver).value();
  float* history[1] = {h.data()};
  rule->Apply({kFactor, 0}, {1, 1}, GradientForm(),
              {.weights_in = w,
               .weights_out = absl::MakeSpan(out),
               .history = history,
               .gradient = g});
  EXPECT_EQ(h, std::vector<float>(kCount, 0));
  EXPECT_EQ(out, w);
}

std::vector<float> Regularized(const std::string& solver, float scale,
                               float decay_mult, std::vector<float> weights,
                               std::vector<float> gradient) {
  const auto regularizer = Regularizer::Create(Solver(solver)).value();
  return Formed(regularizer.Form(scale, {1, decay_mult}), weights, gradient);
}

TEST(RegularizerTest, ScalesThenDecays) {
  using V = std::vector<float>;
  EXPECT_EQ(Regularized("weight_decay: 0.5", 0.25f, 2, {3, -3}, {8, 8}),
            (V{5, -1}));
  EXPECT_EQ(Regularized("weight_decay: 0.5 regularization_type: 'L1'", 0.25f, 1,
                        {3, -3, 0}, {8, 8, 8}),
            (V{2.5f, 1.5f, 2}));
  EXPECT_EQ(Regularized("", 0.25f, 1, {3}, {8}), (V{2}));
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(Regularized("weight_decay: 0.5", 1, 0, {inf}, {8}), (V{8}));
}

TEST(RegularizerTest, NamesUnknownTypes) {
  const auto regularizer =
      Regularizer::Create(Solver("regularization_type: 'L3'"));
  EXPECT_THAT(std::string(regularizer.status().message()),
              HasSubstr("'L3' (known: L1, L2)"));
}

}  // namespace
}  // namespace cssp
