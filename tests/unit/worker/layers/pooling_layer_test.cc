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
#include "tests/unit/worker/layers/index_testing.h"
#include "worker/net/philox.h"

namespace cssp::testing {
namespace {

struct Case {
  const char* name;
  const char* fields;
  Shape bottom;
  std::vector<int64_t> kernel, stride, pad;  // an entry a spatial axis
  std::vector<int64_t> out;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

const Case kCases[] = {
    {"TwoByTwo",
     "kernel_size: 2 stride: 2",
     {2, 3, 4, 6},
     {2, 2},
     {2, 2},
     {0, 0},
     {2, 3}},
    // cifar10_quick: 32 -> 16, the last window overflows by one.
    {"CeilOverflow",
     "kernel_size: 3 stride: 2",
     {2, 3, 8, 8},
     {3, 3},
     {2, 2},
     {0, 0},
     {4, 4}},
    {"Floor",
     "kernel_size: 3 stride: 2 round_mode: FLOOR",
     {1, 2, 8, 8},
     {3, 3},
     {2, 2},
     {0, 0},
     {3, 3}},
    {"PadNoOverflow",
     "kernel_size: 3 stride: 2 pad: 1",
     {1, 2, 5, 7},
     {3, 3},
     {2, 2},
     {1, 1},
     {3, 4}},
    {"PadAndOverflow",
     "kernel_size: 3 stride: 2 pad: 1",
     {1, 2, 6, 8},
     {3, 3},
     {2, 2},
     {1, 1},
     {4, 5}},
    // ceil gives 4 windows, the last would start at 5 + 1 - 1: dropped.
    {"PadLastDropped",
     "kernel_size: 2 stride: 2 pad: 1",
     {1, 2, 5, 5},
     {2, 2},
     {2, 2},
     {1, 1},
     {3, 3}},
    {"StrideOne",
     "kernel_size: 3 stride: 1 pad: 1",
     {1, 9, 4, 4},
     {3, 3},
     {1, 1},
     {1, 1},
     {4, 4}},
    {"Rectangle",
     "kernel_h: 2 kernel_w: 3 stride_h: 1 stride_w: 2 pad_h: 0 pad_w: 1",
     {1, 2, 4, 7},
     {2, 3},
     {1, 2},
     {0, 1},
     {3, 4}},
    {"Global",
     "global_pooling: true",
     {2, 3, 3, 5},
     {3, 5},
     {1, 1},
     {0, 0},
     {1, 1}},
    {"WholeBlocks",
     "kernel_size: 3 stride: 2",
     {1, 16, 4, 4},
     {3, 3},
     {2, 2},
     {0, 0},
     {2, 2}},
    {"OneAxis", "kernel_size: 3 stride: 2", {2, 3, 8}, {3}, {2}, {0}, {4}},
    {"OneAxisPadded",
     "kernel_size: 3 stride: 2 pad: 1",
     {1, 2, 6},
     {3},
     {2},
     {1},
     {4}},
    {"ThreeAxes",
     "kernel_size: 2 stride: 2",
     {2, 2, 4, 3, 4},
     {2, 2, 2},
     {2, 2, 2},
     {0, 0, 0},
     {2, 2, 2}},
    {"ThreeAxesPadded",
     "kernel_size: 3 stride: 2 pad: 1",
     {1, 2, 4, 3, 5},
     {3, 3, 3},
     {2, 2, 2},
     {1, 1, 1},
     {3, 2, 3}},
    {"ThreeAxesGlobal",
     "global_pooling: true",
     {1, 3, 2, 3, 2},
     {2, 3, 2},
     {1, 1, 1},
     {0, 0, 0},
     {1, 1, 1}},
};

std::string Text(const Case& c, const char* pool) {
  return absl::StrCat("type: 'Pooling' pooling_param { pool: ", pool, " ",
                      c.fields, " }");
}

bool Padded(const Case& c) {
  return std::any_of(c.pad.begin(), c.pad.end(),
                     [](int64_t pad) { return pad > 0; });
}

Shape TopShape(const Case& c) {
  Shape top = c.bottom;
  for (size_t i = 0; i < c.out.size(); ++i) top.set_dim(2 + i, c.out[i]);
  return top;
}

struct Element {
  int64_t index;  // in its plane
  double value;
};

// Calls body(elements clipped to the bottom, size of the window clipped to the
// padded bottom) for every window, in order.
template <class Body>
void ForEachWindow(const Case& c, const Values& x, Body body) {
  const std::vector<int64_t> in(c.bottom.dims().begin() + 2,
                                c.bottom.dims().end());
  for (int64_t plane = 0; plane < c.bottom.count(0, 2); ++plane)
    for (int64_t o = 0; o < Product(c.out); ++o) {
      const auto at = Digits(o, c.out);
      std::vector<Element> elements;
      double size = 1;
      for (size_t i = 0; i < in.size(); ++i) {
        const int64_t begin = at[i] * c.stride[i] - c.pad[i];
        size *= std::min(begin + c.kernel[i], in[i] + c.pad[i]) - begin;
      }
      for (int64_t k = 0; k < Product(c.kernel); ++k) {
        const auto tap = Digits(k, c.kernel);
        int64_t index = 0;
        bool inside = true;
        for (size_t i = 0; i < in.size(); ++i) {
          const int64_t e = at[i] * c.stride[i] - c.pad[i] + tap[i];
          inside = inside && e >= 0 && e < in[i];
          index = index * in[i] + e;
        }
        if (inside) elements.push_back({index, x[plane * Product(in) + index]});
      }
      body(elements, size);
    }
}

// Caffe's definition, window by window.  `mask` may be null.
Values Reference(const Case& c, bool max, const Values& x, Values* mask) {
  Values y;
  ForEachWindow(c, x, [&](const std::vector<Element>& window, double size) {
    double sum = 0;
    Element best{-1, -std::numeric_limits<double>::infinity()};
    for (const Element& e : window) {
      sum += e.value;
      if (e.value > best.value) best = e;
    }
    y.push_back(static_cast<float>(max ? best.value : sum / size));
    if (mask != nullptr) mask->push_back(static_cast<float>(best.index));
  });
  return y;
}

// As activations behind a ReLU are: a third of them zero.
Values Activations(int64_t count, uint64_t seed) {
  Values values = Distinct(count, seed);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = i % 3 == 0 ? 0 : std::fabs(values[i]);
  }
  return values;
}

class PoolingLayerTest : public ::testing::TestWithParam<Case> {};

TEST_P(PoolingLayerTest, ForwardIsTheDefinition) {
  const Case& c = GetParam();
  for (bool max : {true, false}) {
    for (Offer offer : {Offer::kForceCaffe, Offer::kCaffe, Offer::kBlocked8,
                        Offer::kBlocked16}) {
      auto run = LayerRunner::Create(Text(c, max ? "MAX" : "AVE"), caffe::TRAIN,
                                     {c.bottom}, offer);
      ASSERT_TRUE(run.ok()) << run.status();
      LayerRunner& r = **run;
      ASSERT_EQ(r.top_shapes()[0], TopShape(c));
      r.bottom[0] = Distinct(c.bottom.count(), 1);
      ASSERT_TRUE(r.Forward().ok());
      EXPECT_THAT(r.top[0],
                  ::testing::Pointwise(::testing::FloatNear(1e-4),
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
  auto run =
      LayerRunner::Create(absl::StrCat("top: 'a' top: 'mask' ", Text(c, "MAX")),
                          caffe::TRAIN, {c.bottom}, Offer::kBlocked16);
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
    expected[i / Product(c.out) * plane + static_cast<int64_t>(mask[i])] +=
        dy[i];
  }
  EXPECT_THAT(r.bottom_gradient[0],
              ::testing::Pointwise(::testing::FloatNear(1e-5), expected));
}

TEST_P(PoolingLayerTest, StochasticMeanIsTheDefinition) {
  const Case& c = GetParam();
  if (Padded(c)) return;
  for (Offer offer :
       {Offer::kForceCaffe, Offer::kBlocked8, Offer::kBlocked16}) {
    auto run = LayerRunner::Create(Text(c, "STOCHASTIC"), caffe::TEST,
                                   {c.bottom}, offer);
    ASSERT_TRUE(run.ok()) << run.status();
    LayerRunner& r = **run;
    r.bottom[0] = Activations(c.bottom.count(), 1);
    ASSERT_TRUE(r.Forward().ok());
    Values expected;
    ForEachWindow(c, r.bottom[0],
                  [&](const std::vector<Element>& window, double) {
                    double sum = 0, squares = 0;
                    for (const Element& e : window) {
                      sum += e.value;
                      squares += e.value * e.value;
                    }
                    expected.push_back(sum > 0 ? squares / sum : 0);
                  });
    EXPECT_THAT(r.top[0],
                ::testing::Pointwise(::testing::FloatNear(1e-4), expected))
        << OfferName(offer);
  }
  Values positive = Distinct(c.bottom.count(), 2);
  for (float& v : positive) v = std::fabs(v) + 0.5f;
  EXPECT_EQ(CheckGradients({.layer = Text(c, "STOCHASTIC"),
                            .bottom = {c.bottom},
                            .phase = caffe::TEST,
                            .values = {positive}}),
            "");
}

// The draw is Philox's, element by element, whatever the format; the gradient
// goes where the value came from.
TEST_P(PoolingLayerTest, StochasticTakesTheWindowsDraw) {
  const Case& c = GetParam();
  if (Padded(c)) return;
  for (Offer offer :
       {Offer::kForceCaffe, Offer::kBlocked8, Offer::kBlocked16}) {
    auto run = LayerRunner::Create(Text(c, "STOCHASTIC"), caffe::TRAIN,
                                   {c.bottom}, offer);
    ASSERT_TRUE(run.ok()) << run.status();
    LayerRunner& r = **run;
    r.state().clock = 5;
    r.bottom[0] = Activations(c.bottom.count(), 1);
    ASSERT_TRUE(r.Forward().ok());
    const DrawSite site{.seed = r.state().seed, .clock = 5, .layer = 3};
    const int64_t plane = c.bottom.count_from(2);
    Values top, gradient(c.bottom.count(), 0.0f);
    const Values dy = Normal(r.top[0].size(), 3);
    ForEachWindow(
        c, r.bottom[0], [&](const std::vector<Element>& window, double) {
          const uint32_t i = top.size();
          float sum = 0, running = 0;
          for (const Element& e : window) sum += e.value;
          const float threshold =
              UnitFloat(DrawBlock(site, i / 4)[i % 4]) * sum;
          const auto picked =
              std::find_if(window.begin(), window.end(), [&](const Element& e) {
                running += e.value;
                return running > threshold;
              });
          const Element& e = picked == window.end() ? window[0] : *picked;
          top.push_back(static_cast<float>(e.value));
          gradient[i / Product(c.out) * plane + e.index] += dy[i];
        });
    EXPECT_EQ(r.top[0], top) << OfferName(offer);
    ASSERT_TRUE(r.Backward({dy}, GradientMode::kWrite).ok());
    EXPECT_THAT(r.bottom_gradient[0],
                ::testing::Pointwise(::testing::FloatNear(1e-5), gradient));
  }
}

INSTANTIATE_TEST_SUITE_P(All, PoolingLayerTest, ::testing::ValuesIn(kCases),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

// The statistic itself: elements are chosen as often as they weigh, zeros
// never.
TEST(PoolingLayer, StochasticSamplesInProportion) {
  auto run = LayerRunner::Create(
      "type: 'Pooling' pooling_param { pool: STOCHASTIC kernel_size: 2 }",
      caffe::TRAIN, {{1, 1, 2, 2}});
  ASSERT_TRUE(run.ok()) << run.status();
  LayerRunner& r = **run;
  r.bottom[0] = {1, 0, 5, 2};
  int counts[6] = {};
  const int kDraws = 8000;
  for (int i = 0; i < kDraws; ++i) {
    r.state().clock = i;
    ASSERT_TRUE(r.Forward().ok());
    ++counts[static_cast<int>(r.top[0][0])];
  }
  EXPECT_EQ(counts[0], 0);
  for (int weight : {1, 2, 5}) {
    EXPECT_NEAR(counts[weight], kDraws * weight / 8.0, 4 * 45) << weight;
  }
}

TEST(PoolingLayer, StochasticTakesWhatIsNotPositiveForZero) {
  for (caffe::Phase phase : {caffe::TRAIN, caffe::TEST}) {
    auto run = LayerRunner::Create(
        "type: 'Pooling' pooling_param { pool: STOCHASTIC kernel_size: 2 "
        "stride: 2 }",
        phase, {{1, 1, 2, 4}});
    ASSERT_TRUE(run.ok()) << run.status();
    LayerRunner& r = **run;
    r.bottom[0] = {-1, 3, 0, 0, -2, -3, 0, 0};
    ASSERT_TRUE(r.Forward().ok());
    EXPECT_EQ(r.top[0], Values({3, 0}));
    ASSERT_TRUE(r.Backward({{1, 1}}, GradientMode::kWrite).ok());
    EXPECT_EQ(r.bottom_gradient[0][1], 1);
    EXPECT_EQ(r.bottom_gradient[0][0], 0);
  }
}

TEST(PoolingLayer, TiesGoToTheFirst) {
  for (Offer offer :
       {Offer::kForceCaffe, Offer::kBlocked8, Offer::kBlocked16}) {
    auto run =
        LayerRunner::Create("type: 'Pooling' pooling_param { kernel_size: 2 }",
                            caffe::TRAIN, {{1, 1, 2, 2}}, offer);
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
      {"pool: STOCHASTIC kernel_size: 2 pad: 1", "STOCHASTIC"},
  };
  for (const auto& c : cases) {
    auto run = LayerRunner::Create(
        absl::StrCat("type: 'Pooling' pooling_param { ", c.fields, " }"),
        caffe::TRAIN, {{1, 1, 3, 3}});
    ASSERT_FALSE(run.ok()) << c.fields;
    EXPECT_THAT(std::string(run.status().message()),
                ::testing::HasSubstr(c.message));
  }
  for (const Shape& bottom : {Shape({2, 3}), Shape({1, 1, 2, 2, 2, 2})}) {
    auto run =
        LayerRunner::Create("type: 'Pooling' pooling_param { kernel_size: 1 }",
                            caffe::TRAIN, {bottom});
    EXPECT_THAT(run.status().ToString(), ::testing::HasSubstr("3 to 5 axes"));
  }
  auto run = LayerRunner::Create(
      "type: 'Pooling' pooling_param { kernel_h: 1 kernel_w: 1 }", caffe::TRAIN,
      {{1, 1, 3}});
  EXPECT_THAT(run.status().ToString(), ::testing::HasSubstr("2 spatial axes"));
}

}  // namespace
}  // namespace cssp::testing
