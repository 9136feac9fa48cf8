#include <algorithm>
#include <cmath>
#include <limits>
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
  const char* fields;
  Shape bottom;
  int64_t kernel[2], stride[2], pad[2];
  int64_t out[2];
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

const Case kCases[] = {
    {"TwoByTwo", "kernel_size: 2 stride: 2", {2, 3, 4, 6}, {2, 2}, {2, 2},
     {0, 0}, {2, 3}},
    // cifar10_quick: 32 -> 16, the last window overflows by one.
    {"CeilOverflow", "kernel_size: 3 stride: 2", {2, 3, 8, 8}, {3, 3}, {2, 2},
     {0, 0}, {4, 4}},
    {"Floor", "kernel_size: 3 stride: 2 round_mode: FLOOR", {1, 2, 8, 8},
     {3, 3}, {2, 2}, {0, 0}, {3, 3}},
    {"PadNoOverflow", "kernel_size: 3 stride: 2 pad: 1", {1, 2, 5, 7}, {3, 3},
     {2, 2}, {1, 1}, {3, 4}},
    {"PadAndOverflow", "kernel_size: 3 stride: 2 pad: 1", {1, 2, 6, 8},
     {3, 3}, {2, 2}, {1, 1}, {4, 5}},
    // ceil gives 4 windows, the last would start at 5 + 1 - 1: dropped.
    {"PadLastDropped", "kernel_size: 2 stride: 2 pad: 1", {1, 2, 5, 5},
     {2, 2}, {2, 2}, {1, 1}, {3, 3}},
    {"StrideOne", "kernel_size: 3 stride: 1 pad: 1", {1, 9, 4, 4}, {3, 3},
     {1, 1}, {1, 1}, {4, 4}},
    {"Rectangle",
     "kernel_h: 2 kernel_w: 3 stride_h: 1 stride_w: 2 pad_h: 0 pad_w: 1",
     {1, 2, 4, 7}, {2, 3}, {1, 2}, {0, 1}, {3, 4}},
    {"Global", "global_pooling: true", {2, 3, 3, 5}, {3, 5}, {1, 1}, {0, 0},
     {1, 1}},
    {"WholeBlocks", "kernel_size: 3 stride: 2", {1, 16, 4, 4}, {3, 3}, {2, 2},
     {0, 0}, {2, 2}},
};

std::string Text(const Case& c, const char* pool) {
  return absl::StrCat("type: 'Pooling' pooling_param { pool: ", pool, " ",
                      c.fields, " }");
}

// Caffe's definition, window by window.  `mask` may be null.
Values Reference(const Case& c, bool max, const Values& x, Values* mask) {
  const int64_t h = c.bottom.dim(2), w = c.bottom.dim(3);
  Values y;
  for (int64_t plane = 0; plane < c.bottom.count(0, 2); ++plane)
    for (int64_t oy = 0; oy < c.out[0]; ++oy)
      for (int64_t ox = 0; ox < c.out[1]; ++ox) {
        int64_t y0 = oy * c.stride[0] - c.pad[0];
        int64_t x0 = ox * c.stride[1] - c.pad[1];
        int64_t y1 = std::min(y0 + c.kernel[0], h + c.pad[0]);
        int64_t x1 = std::min(x0 + c.kernel[1], w + c.pad[1]);
        const double size = (y1 - y0) * (x1 - x0);
        y0 = std::max<int64_t>(y0, 0);
        x0 = std::max<int64_t>(x0, 0);
        y1 = std::min(y1, h);
        x1 = std::min(x1, w);
        double sum = 0, best = -std::numeric_limits<double>::infinity();
        int64_t index = -1;
        for (int64_t i = y0; i < y1; ++i)
          for (int64_t j = x0; j < x1; ++j) {
            const double v = x[(plane * h + i) * w + j];
            sum += v;
            if (v > best) {
              best = v;
              index = i * w + j;
            }
          }
        y.push_back(static_cast<float>(max ? best : sum / size));
        if (mask != nullptr) mask->push_back(static_cast<float>(index));
      }
  return y;
}

class PoolingLayerTest : public ::testing::TestWithParam<Case> {};

TEST_P(PoolingLayerTest, ForwardIsTheDefinition) {
  const Case& c = GetParam();
  for (bool max : {true, false}) {
    for (Offer offer : {Offer::kForceCaffe, Offer::kCaffe, Offer::kBlocked8,
                        Offer::kBlocked16}) {
      auto run = LayerRunner::Create(Text(c, max ? "MAX" : "AVE"),
                                     caffe::TRAIN, {c.bottom}, offer);
      ASSERT_TRUE(run.ok()) << run.status();
      LayerRunner& r = **run;
      ASSERT_EQ(r.top_shapes()[0], Shape({c.bottom.dim(0), c.bottom.dim(1),
                                          c.out[0], c.out[1]}));
      r.bottom[0] = Distinct(c.bottom.count(), 1);
      ASSERT_TRUE(r.Forward().ok());
      EXPECT_THAT(r.top[0],
                  ::testing::Pointwise(
                      ::testing::FloatNear(1e-4),
                      Reference(c, max, r.bottom[0], nullptr)))
          << OfferName(offer) << (max ? " MAX" : " AVE");
    }
  }
}

TEST_P(PoolingLayerTest, MaxGradients) {
  const Case& c = GetParam();
  EXPECT_EQ(CheckGradients({.layer = Text(c, "MAX"),
                            .bottom = {c.bottom},
                            .values = {Distinct(c.bottom.count(), 5)}}),
            "");
}

TEST_P(PoolingLayerTest, AveGradients) {
  const Case& c = GetParam();
  EXPECT_EQ(CheckGradients({.layer = Text(c, "AVE"), .bottom = {c.bottom}}),
            "");
}

TEST_P(PoolingLayerTest, SecondTopHoldsTheIndices) {
  const Case& c = GetParam();
  auto run = LayerRunner::Create(
      absl::StrCat("top: 'a' top: 'mask' ", Text(c, "MAX")), caffe::TRAIN,
      {c.bottom}, Offer::kBlocked16);
  ASSERT_TRUE(run.ok()) << run.status();
  LayerRunner& r = **run;
  r.bottom[0] = Distinct(c.bottom.count(), 1);
  ASSERT_TRUE(r.Forward().ok());
  Values mask;
  EXPECT_EQ(r.top[0], Reference(c, true, r.bottom[0], &mask));
  EXPECT_EQ(r.top[1], mask);
  // The gradient goes where the mask says.
  const Values dy = Normal(mask.size(), 3);
  ASSERT_TRUE(r.Backward({dy}, GradientMode::kWrite).ok());
  Values expected(c.bottom.count(), 0.0f);
  const int64_t plane = c.bottom.count_from(2);
  for (size_t i = 0; i < mask.size(); ++i) {
    expected[i / (c.out[0] * c.out[1]) * plane +
             static_cast<int64_t>(mask[i])] += dy[i];
  }
  EXPECT_THAT(r.bottom_gradient[0],
              ::testing::Pointwise(::testing::FloatNear(1e-5), expected));
}

INSTANTIATE_TEST_SUITE_P(
    All, PoolingLayerTest, ::testing::ValuesIn(kCases),
    [](const auto& info) { return std::string(info.param.name); });

TEST(PoolingLayer, TiesGoToTheFirst) {
  for (Offer offer : {Offer::kForceCaffe, Offer::kBlocked8,
                      Offer::kBlocked16}) {
    auto run = LayerRunner::Create(
        "type: 'Pooling' pooling_param { kernel_size: 2 }", caffe::TRAIN,
        {{1, 1, 2, 2}}, offer);
    ASSERT_TRUE(run.ok()) << run.status();
    (*run)->bottom[0] = {3, 3, 3, 3};
    ASSERT_TRUE((*run)->Forward().ok());
    ASSERT_TRUE((*run)->Backward({{1}}, GradientMode::kWrite).ok());
    EXPECT_EQ((*run)->bottom_gradient[0], Values({1, 0, 0, 0}))
        << OfferName(offer);
  }
}

TEST(PoolingLayer, RefusesWhatIsWrong) {
  const struct {
    const char* fields;
    const char* message;
  } cases[] = {
      {"", "kernel_size"},
      {"kernel_size: 0", "kernel_size must be > 0"},
      {"kernel_size: 2 stride: 0", "stride must be > 0"},
      {"kernel_size: 2 pad: 2", "pad must be smaller"},
      {"kernel_size: 4", "larger than the padded bottom"},
      {"kernel_size: 2 kernel_h: 2 kernel_w: 2", "either kernel_size"},
      {"global_pooling: true kernel_size: 2", "excludes"},
      {"pool: STOCHASTIC kernel_size: 2", "STOCHASTIC"},
  };
  for (const auto& c : cases) {
    auto run = LayerRunner::Create(
        absl::StrCat("type: 'Pooling' pooling_param { ", c.fields, " }"),
        caffe::TRAIN, {{1, 1, 3, 3}});
    ASSERT_FALSE(run.ok()) << c.fields;
    EXPECT_THAT(std::string(run.status().message()),
                ::testing::HasSubstr(c.message));
  }
}

}  // namespace
}  // namespace cssp::testing
