#include "worker/net/filler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "common/base/logging.h"
#include "google/protobuf/text_format.h"
#include "worker/net/philox.h"

namespace cssp {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

caffe::FillerParameter Filler(const std::string& text) {
  caffe::FillerParameter filler;
  CHECK(google::protobuf::TextFormat::ParseFromString(text, &filler));
  return filler;
}

std::vector<float> Filled(const std::string& text, const Shape& shape,
                          uint64_t seed = 1,
                          const std::string& key = "conv1/0") {
  std::vector<float> values(shape.count(), -99);
  const absl::Status status =
      Fill(Filler(text), shape, seed, key, absl::MakeSpan(values));
  EXPECT_TRUE(status.ok()) << status;
  return values;
}

double Mean(const std::vector<float>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / values.size();
}

double Deviation(const std::vector<float>& values) {
  const double mean = Mean(values);
  double squares = 0;
  for (float value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / values.size());
}

// Known answers of Philox4x32-10, from its authors' test vectors.
TEST(PhiloxTest, KnownAnswers) {
  EXPECT_THAT(Philox(0, {0, 0, 0, 0}),
              ElementsAre(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  EXPECT_THAT(Philox(0x299f31d0a4093822,
                     {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
              ElementsAre(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1));
}

TEST(PhiloxTest, BernoulliDependsOnEveryPartOfItsSite) {
  const auto mask = [](const DrawSite& site) {
    std::vector<float> values(1001);
    DrawBernoulli(site, 0.25f, 4, absl::MakeSpan(values));
    return values;
  };
  const DrawSite site{.seed = 1, .clock = 2, .pass = 3, .layer = 4, .rank = 5};
  EXPECT_EQ(mask(site), mask(site));
  EXPECT_NEAR(Mean(mask(site)), 1, 0.2);
  for (auto change :
       {+[](DrawSite* s) { s->seed++; }, +[](DrawSite* s) { s->clock++; },
        +[](DrawSite* s) { s->pass++; }, +[](DrawSite* s) { s->layer++; },
        +[](DrawSite* s) { s->rank++; }}) {
    DrawSite other = site;
    change(&other);
    EXPECT_NE(mask(other), mask(site));
  }
}

TEST(FillerTest, Constant) {
  EXPECT_THAT(Filled("type: 'constant' value: 3", {2, 2}), Each(3));
  EXPECT_THAT(Filled("", {3}), Each(0));  // the default
}

TEST(FillerTest, Uniform) {
  const auto values = Filled("type: 'uniform' min: -1 max: 3", {100, 10, 10});
  EXPECT_THAT(values, Each(testing::AllOf(testing::Ge(-1), testing::Lt(3))));
  EXPECT_NEAR(Mean(values), 1, 0.05);
  EXPECT_NEAR(Deviation(values), 4 / std::sqrt(12.0), 0.05);
}

TEST(FillerTest, Gaussian) {
  const auto values =
      Filled("type: 'gaussian' mean: 2 std: 0.5", {100, 10, 10});
  EXPECT_NEAR(Mean(values), 2, 0.02);
  EXPECT_NEAR(Deviation(values), 0.5, 0.02);
  int within = 0;  // one deviation: 68.3 %
  for (float value : values) within += std::abs(value - 2) < 0.5;
  EXPECT_NEAR(within / 10000.0, 0.683, 0.02);
}

// sparse counts inputs kept per output, on average.
TEST(FillerTest, SparseGaussian) {
  const auto values = Filled("type: 'gaussian' std: 1 sparse: 5", {50, 400});
  const auto zeros = std::count(values.begin(), values.end(), 0.0f);
  EXPECT_NEAR(1 - zeros / 20000.0, 5 / 50.0, 0.01);
  EXPECT_THAT(Filled("type: 'gaussian' sparse: 0", {5, 5}), Each(0));
}

TEST(FillerTest, PositiveUnitball) {
  const auto values = Filled("type: 'positive_unitball'", {7, 3, 5});
  for (int row = 0; row < 7; ++row) {
    double sum = 0;
    for (int i = 0; i < 15; ++i) {
      EXPECT_GE(values[row * 15 + i], 0);
      sum += values[row * 15 + i];
    }
    EXPECT_NEAR(sum, 1, 1e-5);
  }
}

TEST(FillerTest, XavierFollowsTheFan) {
  // fan_in 50, fan_out 1000, average 525.
  const Shape shape{200, 10, 5};
  const auto bound = [&](const std::string& norm) {
    const auto values = Filled("type: 'xavier'" + norm, shape);
    return std::make_pair(Deviation(values) * std::sqrt(3.0),
                          *std::max_element(values.begin(), values.end()));
  };
  for (const auto& [norm, fan] : {std::pair<std::string, double>{"", 50},
                                  {" variance_norm: FAN_OUT", 1000},
                                  {" variance_norm: AVERAGE", 525}}) {
    const double expected = std::sqrt(3 / fan);
    EXPECT_NEAR(bound(norm).first, expected, 0.02 * expected) << norm;
    EXPECT_LE(bound(norm).second, expected * 1.000001) << norm;
  }
}

TEST(FillerTest, Msra) {
  const auto values = Filled("type: 'msra'", {200, 10, 5});
  EXPECT_NEAR(Deviation(values), std::sqrt(2 / 50.0), 0.01);
  EXPECT_NEAR(Mean(values), 0, 0.01);
}

TEST(FillerTest, Bilinear) {
  // Width 4: f = 2, centre 0.75, weights 0.25 0.75 0.75 0.25 an axis.
  const auto values = Filled("type: 'bilinear'", {1, 1, 4, 4});
  const float axis[] = {0.25f, 0.75f, 0.75f, 0.25f};
  for (int y = 0; y < 4; ++y)
    for (int x = 0; x < 4; ++x) EXPECT_EQ(values[y * 4 + x], axis[x] * axis[y]);
  // Width 3: f = 2, centre 0.5.
  EXPECT_THAT(
      Filled("type: 'bilinear'", {1, 1, 3, 3}),
      ElementsAre(0.25f, 0.5f, 0.25f, 0.5f, 1, 0.5f, 0.25f, 0.5f, 0.25f));
}

TEST(FillerTest, ValuesDependOnSeedAndKeyAlone) {
  const std::string text = "type: 'gaussian'";
  EXPECT_EQ(Filled(text, {100}, 7, "a"), Filled(text, {100}, 7, "a"));
  EXPECT_NE(Filled(text, {100}, 7, "a"), Filled(text, {100}, 8, "a"));
  EXPECT_NE(Filled(text, {100}, 7, "a"), Filled(text, {100}, 7, "b"));
  auto longer = Filled(text, {101}, 7, "a");  // no draw depends on the length
  longer.pop_back();
  EXPECT_EQ(longer, Filled(text, {100}, 7, "a"));
}

TEST(FillerTest, RefusesWithOneLine) {
  const auto message = [](const std::string& text, const Shape& shape) {
    std::vector<float> values(shape.count(), -99);
    const absl::Status status =
        Fill(Filler(text), shape, 1, "k", absl::MakeSpan(values));
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(values, Each(-99));
    return std::string(status.message());
  };
  EXPECT_THAT(message("type: 'he'", {2}),
              HasSubstr("bilinear, constant, gaussian, msra, "
                        "positive_unitball, uniform, xavier"));
  EXPECT_THAT(message("type: 'xavier' sparse: 3", {2}), HasSubstr("sparse"));
  EXPECT_THAT(message("type: 'uniform' min: 2", {2}), HasSubstr("min 2"));
  EXPECT_THAT(message("type: 'gaussian' std: -1", {2}), HasSubstr("std"));
  EXPECT_THAT(message("type: 'bilinear'", {1, 1, 3, 4}),
              HasSubstr("square kernel"));
}

}  // namespace
}  // namespace cssp
