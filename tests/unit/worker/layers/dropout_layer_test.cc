#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/gradient_checker.h"
#include "tests/testing/layer_runner.h"

namespace cssp::testing {
namespace {

const char kLayer[] =
    "type: 'Dropout' dropout_param { dropout_ratio: 0.75 }";

Values DropOnes(LayerRunner& run) {
  run.bottom[0].assign(run.bottom[0].size(), 1.0f);
  EXPECT_TRUE(run.Forward().ok());
  return run.top[0];
}

TEST(DropoutLayer, KeepsTheShareAndScales) {
  auto run = LayerRunner::Create(kLayer, caffe::TRAIN, {{100, 100}});
  ASSERT_TRUE(run.ok()) << run.status();
  int kept = 0;
  for (float v : DropOnes(**run)) {
    ASSERT_TRUE(v == 0 || v == 4) << v;
    kept += v != 0;
  }
  EXPECT_NEAR(kept, 2500, 200);  // 4.6 standard deviations
}

TEST(DropoutLayer, DrawsDependOnTheSiteAlone) {
  auto a = LayerRunner::Create(kLayer, caffe::TRAIN, {{10, 10}});
  auto b = LayerRunner::Create(kLayer, caffe::TRAIN, {{10, 10}});
  ASSERT_TRUE(a.ok() && b.ok());
  const Values first = DropOnes(**a);
  EXPECT_EQ(DropOnes(**b), first);
  EXPECT_EQ(DropOnes(**a), first);  // again
  for (auto change : std::vector<void (*)(StepState&)>{
           [](StepState& s) { s.clock = 1; }, [](StepState& s) { s.pass = 1; },
           [](StepState& s) { s.rank = 1; },
           [](StepState& s) { s.seed = 1; }}) {
    const StepState kept = (*b)->state();
    change((*b)->state());
    EXPECT_NE(DropOnes(**b), first);
    (*b)->state() = kept;
  }
}

TEST(DropoutLayer, DrawsDoNotDependOnTheFormat) {
  std::vector<Values> tops;
  for (Offer offer : {Offer::kCaffe, Offer::kBlocked8, Offer::kBlocked16}) {
    auto run =
        LayerRunner::Create(kLayer, caffe::TRAIN, {{2, 11, 3, 3}}, offer);
    ASSERT_TRUE(run.ok()) << run.status();
    tops.push_back(DropOnes(**run));
  }
  EXPECT_EQ(tops[0], tops[1]);
  EXPECT_EQ(tops[0], tops[2]);
}

TEST(DropoutLayer, TestPhaseIsTheIdentity) {
  auto run = LayerRunner::Create(kLayer, caffe::TEST, {{3, 4}});
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(DropOnes(**run), Values(12, 1.0f));
  ASSERT_TRUE((*run)->Backward({Values(12, 2.0f)}, GradientMode::kWrite).ok());
  EXPECT_EQ((*run)->bottom_gradient[0], Values(12, 2.0f));
}

TEST(DropoutLayer, InPlace) {
  auto run = LayerRunner::Create(kLayer, caffe::TRAIN, {{30}});
  auto apart = LayerRunner::Create(kLayer, caffe::TRAIN, {{30}});
  ASSERT_TRUE(run.ok() && apart.ok());
  (*run)->set_in_place(true);
  EXPECT_EQ(DropOnes(**run), DropOnes(**apart));
  ASSERT_TRUE((*run)->Backward({Values(30, 1.0f)}, GradientMode::kWrite).ok());
  EXPECT_EQ((*run)->bottom_gradient[0], (*apart)->top[0]);
}

TEST(DropoutLayer, Gradients) {
  for (caffe::Phase phase : {caffe::TRAIN, caffe::TEST}) {
    EXPECT_EQ(CheckGradients({.layer = kLayer,
                              .bottom = {{2, 5, 3, 2}},
                              .phase = phase}),
              "");
  }
}

TEST(DropoutLayer, RefusesRatiosOfZeroAndOne) {
  for (const char* ratio : {"0", "1", "-1"}) {
    EXPECT_FALSE(LayerRunner::Create(
                     std::string("type: 'Dropout' dropout_param { "
                                 "dropout_ratio: ") +
                         ratio + " }",
                     caffe::TRAIN, {{3}})
                     .ok());
  }
}

}  // namespace
}  // namespace cssp::testing
