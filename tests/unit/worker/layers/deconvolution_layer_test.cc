#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/gradient_checker.h"
#include "tests/testing/layer_runner.h"
#include "tests/unit/worker/layers/convolution_testing.h"
#include "worker/net/filler.h"

namespace cssp::testing {
namespace {

using Case = ConvolutionCase;

const Case kCases[] = {
    {"Plain",
     "num_output: 4 kernel_size: 3",
     {2, 3, 3, 2},
     {2, 4, 5, 4},
     {3, 3},
     {1, 1},
     {0, 0},
     {1, 1}},
    {"StridePad",
     "num_output: 5 kernel_size: 3 stride: 2 pad: 1",
     {2, 3, 3, 4},
     {2, 5, 5, 7},
     {3, 3},
     {2, 2},
     {1, 1},
     {1, 1}},
    {"Rectangle",
     "num_output: 2 kernel_h: 2 kernel_w: 3 stride_h: 3 stride_w: 1 pad_h: 0 "
     "pad_w: 1 bias_term: false",
     {1, 3, 2, 4},
     {1, 2, 5, 4},
     {2, 3},
     {3, 1},
     {0, 1},
     {1, 1},
     1,
     false},
    // Different numbers in and out of each group.
    {"Groups",
     "num_output: 4 kernel_size: 2 group: 2 stride: 2",
     {2, 6, 2, 3},
     {2, 4, 4, 6},
     {2, 2},
     {2, 2},
     {0, 0},
     {1, 1},
     2},
    {"Depthwise",
     "num_output: 5 kernel_size: 4 group: 5 stride: 2 pad: 1",
     {1, 5, 3, 3},
     {1, 5, 6, 6},
     {4, 4},
     {2, 2},
     {1, 1},
     {1, 1},
     5},
    {"Dilated",
     "num_output: 2 kernel_size: 2 dilation: 2 stride: 2",
     {1, 2, 3, 3},
     {1, 2, 7, 7},
     {2, 2},
     {2, 2},
     {0, 0},
     {2, 2}},
    {"Pointwise",
     "num_output: 4 kernel_size: 1",
     {2, 5, 3, 3},
     {2, 4, 3, 3},
     {1, 1},
     {1, 1},
     {0, 0},
     {1, 1}},
    // A stride beyond the kernel leaves gaps: bias alone.
    {"Gaps",
     "num_output: 2 kernel_size: 1 stride: 3",
     {1, 2, 2, 3},
     {1, 2, 4, 7},
     {1, 1},
     {3, 3},
     {0, 0},
     {1, 1}},
    {"WholeBlocks",
     "num_output: 16 kernel_size: 2 stride: 2",
     {1, 32, 3, 3},
     {1, 16, 6, 6},
     {2, 2},
     {2, 2},
     {0, 0},
     {1, 1}},
    {"ScoresOfManyClasses",
     "num_output: 21 kernel_size: 4 stride: 2",
     {1, 21, 3, 3},
     {1, 21, 8, 8},
     {4, 4},
     {2, 2},
     {0, 0},
     {1, 1}},
    {"SmallGroups",
     "num_output: 16 kernel_size: 2 stride: 2 group: 4",
     {1, 16, 3, 3},
     {1, 16, 6, 6},
     {2, 2},
     {2, 2},
     {0, 0},
     {1, 1},
     4},
    {"OneAxisBlocks",
     "num_output: 16 kernel_size: 4 stride: 2 pad: 1",
     {1, 32, 5},
     {1, 16, 10},
     {4},
     {2},
     {1},
     {1}},
    {"NoSpatialAxis", "num_output: 3 axis: 1", {2, 4}, {2, 3}, {}, {}, {}, {}},
    {"OneAxis",
     "num_output: 3 kernel_size: 3 stride: 2 pad: 1",
     {2, 2, 4},
     {2, 3, 7},
     {3},
     {2},
     {1},
     {1}},
    {"ItemsOverTwoAxes",
     "num_output: 3 kernel_size: 2 axis: 2",
     {2, 2, 2, 3},
     {2, 2, 3, 4},
     {2},
     {1},
     {0},
     {1},
     1,
     true,
     2},
    {"ThreeAxes",
     "num_output: 2 kernel_size: 2 stride: 2 stride: 1 stride: 2 group: 2",
     {1, 2, 2, 3, 2},
     {1, 2, 4, 4, 4},
     {2, 2, 2},
     {2, 1, 2},
     {0, 0, 0},
     {1, 1, 1},
     2},
    {"FourAxes",
     "num_output: 4 kernel_size: 2 group: 2 stride: 2 pad: 1",
     {1, 2, 2, 2, 2, 3},
     {1, 4, 2, 2, 2, 4},
     {2, 2, 2, 2},
     {2, 2, 2, 2},
     {1, 1, 1, 1},
     {1, 1, 1, 1},
     2},
};

std::string Text(const Case& c) {
  return absl::StrCat("type: 'Deconvolution' convolution_param { ", c.fields,
                      " }");
}

class DeconvolutionLayerTest : public ::testing::TestWithParam<Case> {};

TEST_P(DeconvolutionLayerTest, BothWaysAreTheDefinition) {
  EXPECT_EQ(CheckDefinition(GetParam(), Text(GetParam()), true), "");
}

TEST_P(DeconvolutionLayerTest, Gradients) {
  const Case& c = GetParam();
  if (c.bottom.dim(1) >= 16) return;  // too many elements to perturb
  EXPECT_EQ(CheckGradients({.layer = Text(c), .bottom = {c.bottom}}), "");
}

INSTANTIATE_TEST_SUITE_P(All, DeconvolutionLayerTest,
                         ::testing::ValuesIn(kCases), [](const auto& info) {
                           return std::string(info.param.name);
                         });

TEST(DeconvolutionLayer, WeightsAreInputsByOutputsOfAGroup) {
  auto run = LayerRunner::Create(
      "type: 'Deconvolution' convolution_param { num_output: 4 kernel_h: 2 "
      "kernel_w: 3 group: 2 }",
      caffe::TRAIN, {{1, 6, 3, 3}});
  ASSERT_TRUE(run.ok()) << run.status();
  const auto& params = (*run)->layer().param_declarations();
  EXPECT_EQ(params[0].shape, Shape({6, 2, 2, 3}));
  EXPECT_EQ(params[1].shape, Shape({4}));
}

// The upsampling idiom: inside, factor 2 interpolates between neighbours.
TEST(DeconvolutionLayer, BilinearFillerInterpolates) {
  auto run = LayerRunner::Create(
      "type: 'Deconvolution' convolution_param { num_output: 2 group: 2 "
      "kernel_size: 4 stride: 2 pad: 1 bias_term: false "
      "weight_filler { type: 'bilinear' } }",
      caffe::TRAIN, {{1, 2, 1, 4}});
  ASSERT_TRUE(run.ok()) << run.status();
  LayerRunner& r = **run;
  const ParamDeclaration& weight = r.layer().param_declarations()[0];
  ASSERT_TRUE(Fill(weight.filler, weight.shape, /*seed=*/1, "w",
                   absl::MakeSpan(r.param[0]))
                  .ok());
  r.layer().ParamsChanged();
  r.bottom[0] = {0, 4, 8, 12, 0, -4, -8, -12};
  ASSERT_TRUE(r.Forward().ok());
  ASSERT_EQ(r.top_shapes()[0], Shape({1, 2, 2, 8}));
  // One row in: each of the two rows out has 3/4 of it, the rest is padding.
  for (int x = 1; x < 7; ++x) {
    EXPECT_FLOAT_EQ(r.top[0][x], 0.75f * (2 * x - 1));
    EXPECT_FLOAT_EQ(r.top[0][16 + x], -0.75f * (2 * x - 1));
  }
}

TEST(DeconvolutionLayer, BlockedGradientsAreThoseOfCaffesLayout) {
  const std::string text =
      "type: 'Deconvolution' convolution_param { num_output: 24 kernel_size: 4 "
      "stride: 2 pad: 1 group: 2 }";
  const Shape shape = {3, 32, 5, 6};
  std::vector<std::vector<Values>> results;
  for (Offer offer : {Offer::kForceCaffe, Offer::kBlocked16, Offer::kCaffe}) {
    auto run = LayerRunner::Create(text, caffe::TRAIN, {shape}, offer);
    ASSERT_TRUE(run.ok()) << run.status();
    LayerRunner& r = **run;
    r.bottom[0] = Normal(shape.count(), 1);
    r.param[0] = Normal(r.param[0].size(), 2);
    ASSERT_TRUE(r.Forward().ok());
    const Values dy = Normal(r.top_shapes()[0].count(), 4);
    ASSERT_TRUE(r.Backward({dy}, GradientMode::kWrite).ok());
    results.push_back(
        {r.bottom_gradient[0], r.param_gradient[0], r.param_gradient[1]});
  }
  for (size_t i = 1; i < results.size(); ++i) {
    for (size_t j = 0; j < 3; ++j) {
      EXPECT_THAT(
          results[i][j],
          ::testing::Pointwise(::testing::FloatNear(2e-3), results[0][j]));
    }
  }
}

TEST(DeconvolutionLayer, SeveralBottomsShareTheWeights) {
  EXPECT_EQ(CheckGradients(
                {.layer = "type: 'Deconvolution' top: 'a' top: 'b' "
                          "convolution_param { num_output: 2 kernel_size: 2 }",
                 .bottom = {{1, 2, 2, 3}, {1, 2, 2, 3}}}),
            "");
}

TEST(DeconvolutionLayer, RefusesWhatIsWrong) {
  const struct {
    const char* fields;
    Shape bottom;
    const char* message;
  } cases[] = {
      {"num_output: 1", {1, 1, 3, 3}, "kernel_size must be > 0"},
      {"kernel_size: 2", {1, 1, 3, 3}, "num_output"},
      {"num_output: 4 kernel_size: 1 group: 2", {1, 3, 3, 3}, "multiple"},
      {"num_output: 3 kernel_size: 1 group: 2", {1, 2, 3, 3}, "multiple"},
      {"num_output: 1 kernel_size: 2 pad: 2", {1, 1, 3, 3}, "nothing is left"},
  };
  for (const auto& c : cases) {
    auto run = LayerRunner::Create(
        absl::StrCat("type: 'Deconvolution' convolution_param { ", c.fields,
                     " }"),
        caffe::TRAIN, {c.bottom});
    ASSERT_FALSE(run.ok()) << c.fields;
    EXPECT_EQ(run.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(run.status().message()),
                ::testing::HasSubstr(c.message));
  }
}

}  // namespace
}  // namespace cssp::testing
