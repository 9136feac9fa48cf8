#include <cmath>
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

struct Case {
  const char* name;
  const char* fields;  // of convolution_param
  Shape bottom;
  int64_t out, group, kernel[2], stride[2], pad[2], dilation[2];
  bool bias;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

const Case kCases[] = {
    {"Plain", "num_output: 4 kernel_size: 3", {2, 3, 6, 4}, 4, 1,
     {3, 3}, {1, 1}, {0, 0}, {1, 1}, true},
    {"StridePad", "num_output: 5 kernel_size: 3 stride: 2 pad: 1",
     {2, 3, 6, 5}, 5, 1, {3, 3}, {2, 2}, {1, 1}, {1, 1}, true},
    {"Rectangle",
     "num_output: 3 kernel_h: 2 kernel_w: 3 stride_h: 1 stride_w: 2 pad_h: 1 "
     "pad_w: 0 bias_term: false",
     {1, 2, 5, 7}, 3, 1, {2, 3}, {1, 2}, {1, 0}, {1, 1}, false},
    {"Groups", "num_output: 6 kernel_size: 3 group: 3 pad: 1", {2, 6, 4, 4},
     6, 3, {3, 3}, {1, 1}, {1, 1}, {1, 1}, true},
    {"Depthwise", "num_output: 8 kernel_size: 3 group: 8", {1, 8, 4, 4}, 8,
     8, {3, 3}, {1, 1}, {0, 0}, {1, 1}, true},
    {"Dilated", "num_output: 3 kernel_size: 3 dilation: 2 pad: 1",
     {1, 2, 6, 6}, 3, 1, {3, 3}, {1, 1}, {1, 1}, {2, 2}, true},
    {"Pointwise", "num_output: 4 kernel_size: 1", {2, 5, 3, 3}, 4, 1, {1, 1},
     {1, 1}, {0, 0}, {1, 1}, true},
    {"PadSmallRemainder", "num_output: 2 kernel_size: 3 stride: 3",
     {1, 2, 8, 7}, 2, 1, {3, 3}, {3, 3}, {0, 0}, {1, 1}, true},
    {"WholeBlocks", "num_output: 32 kernel_size: 3 pad: 1", {2, 16, 4, 4}, 32,
     1, {3, 3}, {1, 1}, {1, 1}, {1, 1}, true},
    {"GroupBlocks", "num_output: 32 kernel_size: 3 pad: 1 group: 2",
     {1, 32, 4, 4}, 32, 2, {3, 3}, {1, 1}, {1, 1}, {1, 1}, true},
};

std::string Text(const Case& c) {
  return absl::StrCat("type: 'Convolution' convolution_param { ", c.fields,
                      " }");
}

// The definition, in double.
Values Reference(const Case& c, const Values& x, const Values& w,
                 const Values& b, const Shape& top) {
  const int64_t channels = c.bottom.dim(1), per_group = channels / c.group;
  Values y(top.count());
  size_t at = 0;
  for (int64_t n = 0; n < top.dim(0); ++n)
    for (int64_t o = 0; o < top.dim(1); ++o)
      for (int64_t oy = 0; oy < top.dim(2); ++oy)
        for (int64_t ox = 0; ox < top.dim(3); ++ox) {
          double sum = c.bias ? b[o] : 0;
          const int64_t first = o / (c.out / c.group) * per_group;
          for (int64_t i = 0; i < per_group; ++i)
            for (int64_t ky = 0; ky < c.kernel[0]; ++ky)
              for (int64_t kx = 0; kx < c.kernel[1]; ++kx) {
                const int64_t iy =
                    oy * c.stride[0] - c.pad[0] + ky * c.dilation[0];
                const int64_t ix =
                    ox * c.stride[1] - c.pad[1] + kx * c.dilation[1];
                if (iy < 0 || iy >= c.bottom.dim(2) || ix < 0 ||
                    ix >= c.bottom.dim(3))
                  continue;
                sum += double{w[((o * per_group + i) * c.kernel[0] + ky) *
                                    c.kernel[1] +
                                kx]} *
                       x[((n * channels + first + i) * c.bottom.dim(2) + iy) *
                             c.bottom.dim(3) +
                         ix];
              }
          y[at++] = static_cast<float>(sum);
        }
  return y;
}

class ConvolutionLayerTest : public ::testing::TestWithParam<Case> {};

TEST_P(ConvolutionLayerTest, ForwardIsTheDefinition) {
  const Case& c = GetParam();
  for (Offer offer : {Offer::kForceCaffe, Offer::kCaffe, Offer::kBlocked8,
                      Offer::kBlocked16}) {
    auto run = LayerRunner::Create(Text(c), caffe::TRAIN, {c.bottom}, offer);
    ASSERT_TRUE(run.ok()) << run.status();
    LayerRunner& r = **run;
    r.bottom[0] = Normal(c.bottom.count(), 1);
    for (size_t i = 0; i < r.param.size(); ++i) {
      r.param[i] = Normal(r.param[i].size(), 2 + i);
    }
    ASSERT_TRUE(r.Forward().ok());
    const Values expected =
        Reference(c, r.bottom[0], r.param[0],
                  c.bias ? r.param[1] : Values(), r.top_shapes()[0]);
    EXPECT_THAT(r.top[0], ::testing::Pointwise(::testing::FloatNear(1e-3),
                                               expected))
        << OfferName(offer);
  }
}

TEST_P(ConvolutionLayerTest, Gradients) {
  const Case& c = GetParam();
  // Whole blocks have too many elements to perturb: see BlockedGradients below.
  if (c.bottom.dim(1) >= 16) return;
  EXPECT_EQ(CheckGradients({.layer = Text(c), .bottom = {c.bottom}}), "");
}

INSTANTIATE_TEST_SUITE_P(
    All, ConvolutionLayerTest, ::testing::ValuesIn(kCases),
    [](const auto& info) { return std::string(info.param.name); });

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
      EXPECT_THAT(results[i][j], ::testing::Pointwise(
                                     ::testing::FloatNear(2e-3),
                                     results[0][j]));
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

TEST(ConvolutionLayer, SeveralBottomsShareTheWeights) {
  EXPECT_EQ(CheckGradients(
                {.layer = "type: 'Convolution' top: 'a' top: 'b' "
                          "convolution_param { num_output: 2 kernel_size: 2 }",
                 .bottom = {{1, 2, 3, 3}, {1, 2, 3, 3}}}),
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
      {"num_output: 1 kernel_size: 4", {1, 1, 3, 3}, "covers 4 rows"},
      {"num_output: 4 kernel_size: 1 group: 2", {1, 3, 3, 3}, "multiple"},
      {"num_output: 3 kernel_size: 1 group: 2", {1, 2, 3, 3}, "multiple"},
      {"num_output: 1 kernel_size: 2", {1, 9}, "4 axes"},
      {"num_output: 1 kernel_h: 2", {1, 1, 3, 3}, "both of kernel_size_h"},
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
