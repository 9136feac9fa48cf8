#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/gradient_checker.h"
#include "tests/testing/layer_runner.h"

namespace cssp::testing {
namespace {

constexpr Offer kOffers[] = {Offer::kForceCaffe, Offer::kCaffe,
                             Offer::kBlocked8, Offer::kBlocked16};

TEST(ScaleLayer, PerChannel) {
  for (Offer offer : kOffers) {
    auto run = LayerRunner::Create(
        "type: 'Scale' scale_param { bias_term: true }", caffe::TRAIN,
        {{2, 3, 2, 2}}, offer);
    ASSERT_TRUE(run.ok()) << run.status();
    LayerRunner& r = **run;
    r.bottom[0] = Normal(24, 1);
    r.param = {{2, -3, 0.5f}, {1, 0, -1}};
    ASSERT_TRUE(r.Forward().ok());
    for (int i = 0; i < 24; ++i) {
      const int c = i / 4 % 3;
      EXPECT_FLOAT_EQ(r.top[0][i],
                      r.bottom[0][i] * r.param[0][c] + r.param[1][c]);
    }
  }
}

TEST(ScaleLayer, Gradients) {
  const struct {
    const char* layer;
    std::vector<Shape> bottom;
  } cases[] = {
      {"type: 'Scale'", {{2, 5, 3, 2}}},
      {"type: 'Scale' scale_param { bias_term: true }", {{2, 9, 3, 2}}},
      {"type: 'Scale' scale_param { axis: 0 num_axes: 2 bias_term: true }",
       {{2, 3, 2, 2}}},
      {"type: 'Scale' scale_param { axis: 2 num_axes: -1 }", {{2, 3, 2, 2}}},
      {"type: 'Scale' scale_param { num_axes: 0 bias_term: true }",
       {{2, 3, 2, 2}}},
      {"type: 'Scale' scale_param { axis: -1 }", {{2, 3, 4}}},
      {"type: 'Scale'", {{2, 3, 2, 2}, {3}}},
      {"type: 'Scale' scale_param { axis: 0 bias_term: true }",
       {{2, 3, 2, 2}, {2, 3}}},
      {"type: 'Bias'", {{2, 5, 3, 2}}},
      {"type: 'Bias' bias_param { axis: 2 num_axes: 2 }", {{2, 3, 2, 2}}},
      {"type: 'Bias' bias_param { axis: 1 }", {{2, 3, 2, 2}, {3, 2}}},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(CheckGradients({.layer = c.layer, .bottom = c.bottom}), "")
        << c.layer << " with " << c.bottom.size() << " bottoms";
  }
}

TEST(ScaleLayer, FillersDefaultToTheIdentity) {
  auto scale = LayerRunner::Create(
      "type: 'Scale' scale_param { bias_term: true }", caffe::TRAIN,
      {{2, 3, 2, 2}});
  ASSERT_TRUE(scale.ok()) << scale.status();
  const auto& params = (*scale)->layer().param_declarations();
  EXPECT_EQ(params[0].filler.value(), 1);
  EXPECT_EQ(params[1].filler.value(), 0);
  EXPECT_EQ(params[0].filler.type(), "constant");
}

TEST(ScaleLayer, RefusesWhatIsWrong) {
  EXPECT_FALSE(LayerRunner::Create("type: 'Scale' scale_param { num_axes: 4 }",
                                   caffe::TRAIN, {{2, 3, 2, 2}})
                   .ok());
  EXPECT_FALSE(LayerRunner::Create("type: 'Scale'", caffe::TRAIN,
                                   {{2, 3, 2, 2}, {4}})
                   .ok());
}

}  // namespace
}  // namespace cssp::testing
