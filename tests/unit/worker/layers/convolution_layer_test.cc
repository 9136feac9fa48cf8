#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/gradient_checker.h"
#include "tests/testing/layer_runner.h"
#include "tests/unit/worker/layers/convolution_testing.h"

namespace cssp::testing {
namespace {

using Case = ConvolutionCase;

const Case kCases[] = {
    {"Plain",
     "num_output: 4 kernel_size: 3",
     {2, 3, 6, 4},
     {2, 4, 4, 2},
     {3, 3},
     {1, 1},
     {0, 0},
     {1, 1}},
    {"StridePad",
     "num_output: 5 kernel_size: 3 stride: 2 pad: 1",
     {2, 3, 6, 5},
     {2, 5, 3, 3},
     {3, 3},
     {2, 2},
     {1, 1},
     {1, 1}},
    {"Rectangle",
     "num_output: 3 kernel_h: 2 kernel_w: 3 stride_h: 1 stride_w: 2 pad_h: 1 "
     "pad_w: 0 bias_term: false",
     {1, 2, 5, 7},
     {1, 3, 6, 3},
     {2, 3},
     {1, 2},
     {1, 0},
     {1, 1},
     1,
     false},
    {"Groups",
     "num_output: 6 kernel_size: 3 group: 3 pad: 1",
     {2, 6, 4, 4},
     {2, 6, 4, 4},
     {3, 3},
     {1, 1},
     {1, 1},
     {1, 1},
     3},
    {"Depthwise",
     "num_output: 8 kernel_size: 3 group: 8",
     {1, 8, 4, 4},
     {1, 8, 2, 2},
     {3, 3},
     {1, 1},
     {0, 0},
     {1, 1},
     8},
    {"DepthwiseOddChannels",
     "num_output: 5 kernel_size: 3 group: 5 stride: 2",
     {2, 5, 5, 5},
     {2, 5, 2, 2},
     {3, 3},
     {2, 2},
     {0, 0},
     {1, 1},
     5},
    {"DepthwiseMultiplier",
     "num_output: 8 kernel_size: 3 group: 4 pad: 1",
     {1, 4, 4, 3},
     {1, 8, 4, 3},
     {3, 3},
     {1, 1},
     {1, 1},
     {1, 1},
     4},
    {"DepthwiseDilated",
     "num_output: 4 kernel_size: 3 group: 4 pad: 2 dilation: 2",
     {1, 4, 5, 5},
     {1, 4, 5, 5},
     {3, 3},
     {1, 1},
     {2, 2},
     {2, 2},
     4},
    {"Dilated",
     "num_output: 3 kernel_size: 3 dilation: 2 pad: 1",
     {1, 2, 6, 6},
     {1, 3, 4, 4},
     {3, 3},
     {1, 1},
     {1, 1},
     {2, 2}},
    {"DilatedPerAxisWithStride",
     "num_output: 2 kernel_size: 2 dilation: 3 dilation: 1 stride: 2 "
     "force_nd_im2col: true",
     {1, 2, 6, 6},
     {1, 2, 2, 3},
     {2, 2},
     {2, 2},
     {0, 0},
     {3, 1}},
    {"PadBeyondTheKernel",
     "num_output: 2 kernel_size: 2 pad: 3",
     {1, 2, 2, 2},
     {1, 2, 7, 7},
     {2, 2},
     {1, 1},
     {3, 3},
     {1, 1}},
    {"Pointwise",
     "num_output: 4 kernel_size: 1",
     {2, 5, 3, 3},
     {2, 4, 3, 3},
     {1, 1},
     {1, 1},
     {0, 0},
     {1, 1}},
    {"Remainder",
     "num_output: 2 kernel_size: 3 stride: 3",
     {1, 2, 8, 7},
     {1, 2, 2, 2},
     {3, 3},
     {3, 3},
     {0, 0},
     {1, 1}},
    {"WholeBlocks",
     "num_output: 32 kernel_size: 3 pad: 1",
     {2, 16, 4, 4},
     {2, 32, 4, 4},
     {3, 3},
     {1, 1},
     {1, 1},
     {1, 1}},
    {"GroupBlocks",
     "num_output: 32 kernel_size: 3 pad: 1 group: 2",
     {1, 32, 4, 4},
     {1, 32, 4, 4},
     {3, 3},
     {1, 1},
     {1, 1},
     {1, 1},
     2},
    // Groups of 4 are merged to fill blocks; so are 1 by 2.
    {"SmallGroups",
     "num_output: 16 kernel_size: 3 pad: 1 group: 4",
     {2, 16, 5, 6},
     {2, 16, 5, 6},
     {3, 3},
     {1, 1},
     {1, 1},
     {1, 1},
     4},
    {"DepthwiseMultiplierBlocks",
     "num_output: 32 kernel_size: 3 stride: 2 group: 16 bias_term: false",
     {2, 16, 7, 7},
     {2, 32, 3, 3},
     {3, 3},
     {2, 2},
     {0, 0},
     {1, 1},
     16,
     false},
    // Reordered inside.
    {"OneAxisBlocks",
     "num_output: 32 kernel_size: 3 pad: 1",
     {2, 16, 9},
     {2, 32, 9},
     {3},
     {1},
     {1},
     {1}},
    {"ThreeAxesBlocks",
     "num_output: 16 kernel_size: 3 pad: 1 stride: 2",
     {1, 32, 4, 5, 6},
     {1, 16, 2, 3, 3},
     {3, 3, 3},
     {2, 2, 2},
     {1, 1, 1},
     {1, 1, 1}},
    // The gradient of the image is seldom asked for, but right.
    {"Image",
     "num_output: 16 kernel_size: 5 stride: 2 pad: 2",
     {2, 3, 9, 9},
     {2, 16, 5, 5},
     {5, 5},
     {2, 2},
     {2, 2},
     {1, 1}},
    // The channels are the last axis: a product with a matrix.
    {"NoSpatialAxis",
     "num_output: 3 axis: 2",
     {2, 3, 4},
     {2, 3, 3},
     {},
     {},
     {},
     {},
     1,
     true,
     2},
    {"OneAxis",
     "num_output: 3 kernel_size: 3 stride: 2 pad: 1",
     {2, 2, 7},
     {2, 3, 4},
     {3},
     {2},
     {1},
     {1}},
    {"OneAxisBehindTwoOfItems",
     "num_output: 2 kernel_size: 2 axis: -2",
     {2, 2, 3, 4},
     {2, 2, 2, 3},
     {2},
     {1},
     {0},
     {1},
     1,
     true,
     2},
    {"TwoAxesOfFive",
     "num_output: 2 kernel_size: 2 axis: 2 group: 2",
     {1, 2, 2, 3, 3},
     {1, 2, 2, 2, 2},
     {2, 2},
     {1, 1},
     {0, 0},
     {1, 1},
     2,
     true,
     2},
    {"ThreeAxes",
     "num_output: 3 kernel_size: 2 kernel_size: 3 kernel_size: 1 stride: 1 "
     "stride: 2 stride: 1 pad: 1 pad: 1 pad: 0",
     {1, 2, 3, 4, 2},
     {1, 3, 4, 2, 2},
     {2, 3, 1},
     {1, 2, 1},
     {1, 1, 0},
     {1, 1, 1}},
    {"ThreeAxesDepthwise",
     "num_output: 3 kernel_size: 2 group: 3 dilation: 2",
     {1, 3, 4, 3, 3},
     {1, 3, 2, 1, 1},
     {2, 2, 2},
     {1, 1, 1},
     {0, 0, 0},
     {2, 2, 2},
     3},
    {"FourAxes",
     "num_output: 4 kernel_size: 2 group: 2 stride: 2 pad: 1 dilation: 2",
     {2, 2, 3, 3, 2, 4},
     {2, 4, 2, 2, 1, 2},
     {2, 2, 2, 2},
     {2, 2, 2, 2},
     {1, 1, 1, 1},
     {2, 2, 2, 2},
     2},
    {"TenAxes",
     "num_output: 2 kernel_size: 2 kernel_size: 1 kernel_size: 1 "
     "kernel_size: 1 kernel_size: 1 kernel_size: 1 kernel_size: 1 "
     "kernel_size: 1 kernel_size: 1 kernel_size: 2",
     {1, 2, 2, 1, 2, 1, 2, 1, 1, 1, 1, 3},
     {1, 2, 1, 1, 2, 1, 2, 1, 1, 1, 1, 2},
     {2, 1, 1, 1, 1, 1, 1, 1, 1, 2},
     {1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
     {0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
     {1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
};

std::string Text(const Case& c) {
  return absl::StrCat("type: 'Convolution' convolution_param { ", c.fields,
                      " }");
}

class ConvolutionLayerTest : public ::testing::TestWithParam<Case> {};

TEST_P(ConvolutionLayerTest, BothWaysAreTheDefinition) {
  EXPECT_EQ(CheckDefinition(GetParam(), Text(GetParam()), false), "");
}

TEST_P(ConvolutionLayerTest, Gradients) {
  const Case& c = GetParam();
  // Whole blocks have too many elements to perturb.
  if (c.bottom.dim(1) >= 16 || c.top.dim(1) >= 16) return;
  EXPECT_EQ(CheckGradients({.layer = Text(c), .bottom = {c.bottom}}), "");
}

INSTANTIATE_TEST_SUITE_P(All, ConvolutionLayerTest, ::testing::ValuesIn(kCases),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

// Blocked formats against Caffe's, where differentiating is too slow.
TEST(ConvolutionLayer, BlockedGradientsAreThoseOfCaffesLayout) {
  const std::string text =
      "type: 'Convolution' convolution_param { num_output: 32 kernel_size: 5 "
      "pad: 2 group: 2 }";
  const Shape shape = {3, 32, 9, 9};
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

TEST(ConvolutionLayer, RunsAreEqualBitForBit) {
  auto run = LayerRunner::Create(
      "type: 'Convolution' convolution_param { num_output: 32 kernel_size: 5 "
      "pad: 2 }",
      caffe::TRAIN, {{8, 16, 16, 16}}, Offer::kBlocked16);
  ASSERT_TRUE(run.ok()) << run.status();
  LayerRunner& r = **run;
  r.bottom[0] = Normal(r.bottom[0].size(), 1);
  r.param[0] = Normal(r.param[0].size(), 2);
  const Values dy = Normal(r.top_shapes()[0].count(), 4);
  std::vector<std::vector<Values>> results;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(r.Forward().ok());
    ASSERT_TRUE(r.Backward({dy}, GradientMode::kWrite).ok());
    results.push_back({r.top[0], r.bottom_gradient[0], r.param_gradient[0],
                       r.param_gradient[1]});
    EXPECT_EQ(results[i], results[0]);
  }
}

TEST(ConvolutionLayer, AFirstLayerReadsCaffesLayoutAndWritesBlocked) {
  auto run = LayerRunner::Create(
      "type: 'Convolution' convolution_param { num_output: 32 kernel_size: 5 "
      "pad: 2 }",
      caffe::TRAIN, {{4, 3, 32, 32}});
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ((*run)->formats().bottom[0], Format::kCaffe);
  EXPECT_NE((*run)->formats().top[0], Format::kCaffe);
}

TEST(ConvolutionLayer, DepthwiseNamesMeanAGroupPerChannel) {
  for (const char* type : {"DepthwiseConvolution", "ConvolutionDepthwise"}) {
    const std::string text = absl::StrCat(
        "type: '", type, "' convolution_param { num_output: 6 kernel_size: 2");
    auto run = LayerRunner::Create(text + " }", caffe::TRAIN, {{1, 3, 4, 4}});
    ASSERT_TRUE(run.ok()) << run.status();
    EXPECT_EQ((*run)->layer().param_declarations()[0].shape,
              Shape({6, 1, 2, 2}));
    EXPECT_EQ(CheckGradients({.layer = text + " }", .bottom = {{1, 3, 4, 4}}}),
              "");
    EXPECT_TRUE(
        LayerRunner::Create(text + " group: 3 }", caffe::TRAIN, {{1, 3, 4, 4}})
            .ok());
    EXPECT_THAT(
        LayerRunner::Create(text + " group: 2 }", caffe::TRAIN, {{1, 3, 4, 4}})
            .status()
            .ToString(),
        ::testing::HasSubstr("leave it out"));
  }
}

TEST(ConvolutionLayer, SeveralBottomsShareTheWeights) {
  EXPECT_EQ(CheckGradients(
                {.layer = "type: 'Convolution' top: 'a' top: 'b' "
                          "convolution_param { num_output: 2 kernel_size: 2 }",
                 .bottom = {{1, 2, 3, 3}, {1, 2, 3, 3}}}),
            "");
  // Our own loops, too.
  EXPECT_EQ(CheckGradients(
                {.layer = "type: 'Convolution' top: 'a' top: 'b' "
                          "convolution_param { num_output: 2 kernel_size: 2 }",
                 .bottom = {{1, 1, 2, 2, 2, 2}, {1, 1, 2, 2, 2, 2}}}),
            "");
}

TEST(ConvolutionLayer, NewWeightsAreUsedAfterParamsChanged) {
  auto run = LayerRunner::Create(
      "type: 'Convolution' convolution_param { num_output: 16 kernel_size: 1 "
      "bias_term: false }",
      caffe::TRAIN, {{1, 16, 2, 2}});
  ASSERT_TRUE(run.ok()) << run.status();
  LayerRunner& r = **run;
  r.bottom[0].assign(r.bottom[0].size(), 1);
  r.param[0].assign(r.param[0].size(), 1);
  ASSERT_TRUE(r.Forward().ok());
  EXPECT_EQ(r.top[0][0], 16);
  r.param[0].assign(r.param[0].size(), 2);
  r.layer().ParamsChanged();
  ASSERT_TRUE(r.Forward().ok());
  EXPECT_EQ(r.top[0][0], 32);
}

TEST(ConvolutionLayer, RefusesWhatIsWrong) {
  const struct {
    const char* fields;
    Shape bottom;
    const char* message;
  } cases[] = {
      {"num_output: 1", {1, 1, 3, 3}, "kernel_size must be > 0"},
      {"kernel_size: 2", {1, 1, 3, 3}, "num_output"},
      {"num_output: 1 kernel_size: 2 stride: 0", {1, 1, 3, 3}, "stride"},
      {"num_output: 1 kernel_size: 4",
       {1, 1, 3, 3},
       "covers 4 elements of axis 2"},
      {"num_output: 4 kernel_size: 1 group: 2", {1, 3, 3, 3}, "multiple"},
      {"num_output: 3 kernel_size: 1 group: 2", {1, 2, 3, 3}, "multiple"},
      {"num_output: 1 kernel_size: 2", {9}, "axis of the channels"},
      {"num_output: 1 kernel_size: 2 axis: 4", {1, 1, 3, 3}, "4 axes"},
      {"num_output: 1 kernel_size: 1",
       {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
       "at most 10"},
      {"num_output: 1 kernel_size: 1 kernel_size: 2",
       {1, 1, 3, 3, 3},
       "once per spatial axis (3)"},
      {"num_output: 1 kernel_h: 1 kernel_w: 1", {1, 1, 3}, "2 spatial axes"},
      {"num_output: 1 kernel_size: 1 kernel_h: 1 kernel_w: 1",
       {1, 1, 3, 3},
       "either kernel_size or both"},
      {"num_output: 1 kernel_size: 1 dilation: 0", {1, 1, 3, 3}, "dilation"},
      {"num_output: 1 kernel_size: 1 group: 0", {1, 1, 3, 3}, "group 0"},
      {"num_output: 1 kernel_h: 2", {1, 1, 3, 3}, "both of kernel_h"},
      {"num_output: 1 kernel_size: 4000000000", {1, 1, 3, 3}, "too large"},
  };
  for (const auto& c : cases) {
    auto run = LayerRunner::Create(
        absl::StrCat("type: 'Convolution' convolution_param { ", c.fields,
                     " }"),
        caffe::TRAIN, {c.bottom});
    ASSERT_FALSE(run.ok()) << c.fields;
    EXPECT_THAT(std::string(run.status().message()),
                ::testing::HasSubstr(c.message));
  }
}

}  // namespace
}  // namespace cssp::testing
