#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/gradient_checker.h"
#include "tests/testing/layer_runner.h"
#include "worker/net/philox.h"

namespace cssp::testing {
namespace {

struct Case {
  const char* name;
  int height;
  Shape bottom;
  // Per level: kernel and pad of the rows, then of the columns.
  std::vector<std::vector<int64_t>> levels;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

// The windows are BVLC's formulas worked out by hand.
const Case kCases[] = {
    {"One", 1, {2, 3, 4, 5}, {{4, 0, 5, 0}}},
    {"Two", 2, {2, 3, 4, 5}, {{4, 0, 5, 0}, {2, 0, 3, 1}}},
    {"Three", 3, {2, 2, 9, 10}, {{9, 0, 10, 0}, {5, 1, 5, 0}, {3, 2, 3, 1}}},
    {"WholeBlocks", 2, {1, 16, 3, 3}, {{3, 0, 3, 0}, {2, 1, 2, 1}}},
};

std::string Text(const Case& c, const char* pool) {
  return absl::StrCat("type: 'SPP' spp_param { pyramid_height: ", c.height,
                      " pool: ", pool, " }");
}

struct Bin {
  std::vector<int64_t> elements;  // indices into the bottom, row-major
  double size;                    // of the window clipped to the padded bottom
};

// Every bin of the top, in order.
std::vector<Bin> Bins(const Case& c) {
  const int64_t h = c.bottom.dim(2), w = c.bottom.dim(3);
  std::vector<Bin> all;
  for (int64_t n = 0; n < c.bottom.dim(0); ++n)
    for (size_t l = 0; l < c.levels.size(); ++l)
      for (int64_t ch = 0; ch < c.bottom.dim(1); ++ch)
        for (int64_t by = 0; by < 1 << l; ++by)
          for (int64_t bx = 0; bx < 1 << l; ++bx) {
            const auto& v = c.levels[l];
            const int64_t y0 = by * v[0] - v[1], x0 = bx * v[2] - v[3];
            const int64_t y1 = std::min(y0 + v[0], h + v[1]);
            const int64_t x1 = std::min(x0 + v[2], w + v[3]);
            Bin bin{{}, static_cast<double>((y1 - y0) * (x1 - x0))};
            for (int64_t y = std::max<int64_t>(y0, 0); y < std::min(y1, h); ++y)
              for (int64_t x = std::max<int64_t>(x0, 0); x < std::min(x1, w);
                   ++x)
                bin.elements.push_back(
                    ((n * c.bottom.dim(1) + ch) * h + y) * w + x);
            all.push_back(bin);
          }
  return all;
}

class SppLayerTest : public ::testing::TestWithParam<Case> {};

TEST_P(SppLayerTest, ForwardIsTheDefinition) {
  const Case& c = GetParam();
  for (const char* pool : {"MAX", "AVE", "STOCHASTIC"}) {
    auto run = LayerRunner::Create(Text(c, pool), caffe::TEST, {c.bottom},
                                   Offer::kBlocked16);
    ASSERT_TRUE(run.ok()) << run.status();
    LayerRunner& r = **run;
    r.bottom[0] = Distinct(c.bottom.count(), 1);
    for (float& v : r.bottom[0]) v = std::fabs(v);
    ASSERT_TRUE(r.Forward().ok());
    Values expected;
    for (const Bin& bin : Bins(c)) {
      double most = 0, sum = 0, squares = 0;
      for (int64_t i : bin.elements) {
        const double v = r.bottom[0][i];
        most = std::max(most, v);
        sum += v;
        squares += v * v;
      }
      expected.push_back(*pool == 'M'   ? most
                         : *pool == 'A' ? sum / bin.size
                                        : squares / sum);
    }
    EXPECT_THAT(r.top[0],
                ::testing::Pointwise(::testing::FloatNear(1e-4), expected))
        << pool;
  }
}

TEST_P(SppLayerTest, Gradients) {
  const Case& c = GetParam();
  for (const char* pool : {"MAX", "AVE", "STOCHASTIC"}) {
    Values values = Distinct(c.bottom.count(), 5);
    for (float& v : values) v += 0.05f * values.size();  // all positive
    EXPECT_EQ(CheckGradients({.layer = Text(c, pool),
                              .bottom = {c.bottom},
                              .phase = caffe::TEST,
                              .threshold = 2e-3,
                              .values = {values}}),
              "")
        << pool;
  }
}

TEST_P(SppLayerTest, StochasticTakesTheBinsDraw) {
  const Case& c = GetParam();
  auto run =
      LayerRunner::Create(Text(c, "STOCHASTIC"), caffe::TRAIN, {c.bottom});
  ASSERT_TRUE(run.ok()) << run.status();
  LayerRunner& r = **run;
  r.bottom[0] = Distinct(c.bottom.count(), 1);
  for (float& v : r.bottom[0]) v = std::fabs(v);
  ASSERT_TRUE(r.Forward().ok());
  const Values dy = Normal(r.top[0].size(), 3);
  Values expected, gradient(c.bottom.count(), 0.0f);
  for (const Bin& bin : Bins(c)) {
    const uint32_t i = expected.size();
    float sum = 0, running = 0;
    for (int64_t e : bin.elements) sum += r.bottom[0][e];
    const float threshold =
        UnitFloat(
            DrawBlock({.seed = r.state().seed, .layer = 3}, i / 4)[i % 4]) *
        sum;
    const int64_t picked = *std::find_if(
        bin.elements.begin(), bin.elements.end(),
        [&](int64_t e) { return (running += r.bottom[0][e]) > threshold; });
    expected.push_back(r.bottom[0][picked]);
    gradient[picked] += dy[i];
  }
  EXPECT_EQ(r.top[0], expected);
  ASSERT_TRUE(r.Backward({dy}, GradientMode::kWrite).ok());
  EXPECT_THAT(r.bottom_gradient[0],
              ::testing::Pointwise(::testing::FloatNear(1e-5), gradient));
}

INSTANTIATE_TEST_SUITE_P(All, SppLayerTest, ::testing::ValuesIn(kCases),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

TEST(SppLayer, Shapes) {
  const struct {
    int height;
    Shape top;
  } cases[] = {{1, {3, 2, 1, 1}}, {2, {3, 10}}, {3, {3, 42}}};
  for (const auto& c : cases) {
    auto run = LayerRunner::Create(
        absl::StrCat("type: 'SPP' spp_param { pyramid_height: ", c.height,
                     " }"),
        caffe::TRAIN, {{3, 2, 9, 8}});
    ASSERT_TRUE(run.ok()) << run.status();
    EXPECT_EQ((*run)->top_shapes()[0], c.top);
  }
}

TEST(SppLayer, RefusesWhatIsWrong) {
  const struct {
    const char* fields;
    Shape bottom;
    const char* message;
  } cases[] = {
      {"", {1, 1, 3, 3}, "pyramid_height"},
      {"pyramid_height: 40", {1, 1, 3, 3}, "pyramid_height"},
      {"pyramid_height: 3", {1, 1, 8, 3}, "3 columns cannot be cut"},
      {"pyramid_height: 1", {1, 3, 3}, "4 axes"},
  };
  for (const auto& c : cases) {
    auto run = LayerRunner::Create(
        absl::StrCat("type: 'SPP' spp_param { ", c.fields, " }"), caffe::TRAIN,
        {c.bottom});
    EXPECT_THAT(run.status().ToString(), ::testing::HasSubstr(c.message));
  }
}

}  // namespace
}  // namespace cssp::testing
