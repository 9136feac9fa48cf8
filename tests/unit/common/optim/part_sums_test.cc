#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>

#include "common/optim/update_rule.h"

namespace cssp {
namespace {

std::vector<std::vector<float>> RandomParts(int parts, int count) {
  std::mt19937 random(11);
  std::normal_distribution<float> normal(0, 100);
  std::vector<std::vector<float>> values(parts, std::vector<float>(count));
  for (auto& part : values)
    for (float& value : part) value = normal(random);
  return values;
}

std::vector<const float*> Pointers(
    const std::vector<std::vector<float>>& parts) {
  std::vector<const float*> pointers;
  for (const auto& part : parts) pointers.push_back(part.data());
  return pointers;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(SumPartsTest, AddsInOrderThenScales) {
  constexpr int kCount = 5003;  // more than two stripes
  for (int parts : {1, 2, 3, 4, 8}) {
    const auto values = RandomParts(parts, kCount);
    const float scale = 1.0f / parts;
    std::vector<float> expected(kCount), sum(kCount);
    for (int i = 0; i < kCount; ++i) {
      float running = values[0][i];
      for (int p = 1; p < parts; ++p) running = running + values[p][i];
      expected[i] = running * scale;
    }
    SumParts(Pointers(values), scale, absl::MakeSpan(sum));
    EXPECT_TRUE(SameBits(sum, expected)) << parts << " parts";
  }
}

// 2^24 + 1 + 1 is 2^24 from the left and 2^24 + 2 from the right.
TEST(SumPartsTest, TheOrderIsThatOfTheParts) {
  const float big = 16777216, one = 1;
  const float* left[] = {&big, &one, &one};
  const float* right[] = {&one, &one, &big};
  float sum = 0;
  SumParts(left, 1, absl::MakeSpan(&sum, 1));
  EXPECT_EQ(sum, 16777216);
  SumParts(right, 1, absl::MakeSpan(&sum, 1));
  EXPECT_EQ(sum, 16777218);
}

TEST(WeightedSumPartsTest, WeighsByHand) {
  const float a[] = {1, 2, 3}, b[] = {10, 20, 30};
  const float* parts[] = {a, b};
  const float weights[] = {0.25f, 0.75f};
  std::vector<float> sum(3);
  WeightedSumParts(parts, weights, absl::MakeSpan(sum));
  EXPECT_EQ(sum, (std::vector<float>{7.75f, 15.5f, 23.25f}));
}

TEST(WeightedSumPartsTest, OutMayBeOfAnyLength) {
  constexpr int kCount = 4099;
  const auto values = RandomParts(3, kCount);
  const float weights[] = {0.5f, 0.25f, 0.25f};
  std::vector<float> sum(kCount), expected(kCount);
  for (int i = 0; i < kCount; ++i)
    expected[i] =
        (values[0][i] * 0.5f + values[1][i] * 0.25f) + values[2][i] * 0.25f;
  WeightedSumParts(Pointers(values), weights, absl::MakeSpan(sum));
  EXPECT_TRUE(SameBits(sum, expected));
}

TEST(SquaredNormPartialsTest, OnePartialABlock) {
  std::vector<float> values(10);
  std::iota(values.begin(), values.end(), 1.0f);
  std::vector<double> partials = {99};  // appended to
  SquaredNormPartials(values, 4, &partials);
  // 1 + 4 + 9 + 16, 25 + 36 + 49 + 64, 81 + 100.
  EXPECT_EQ(partials, (std::vector<double>{99, 30, 174, 181}));
}

TEST(SquaredNormPartialsTest, CuttingAtBlocksKeepsTheBits) {
  const auto values = RandomParts(1, 3 * 4096 + 777)[0];
  std::vector<double> whole, pieces;
  SquaredNormPartials(values, 4096, &whole);
  const absl::Span<const float> span(values);
  SquaredNormPartials(span.first(4096), 4096, &pieces);
  SquaredNormPartials(span.subspan(4096), 4096, &pieces);
  EXPECT_EQ(whole, pieces);
  double direct = 0;
  for (float value : values) direct += double{value} * value;
  EXPECT_NEAR(std::accumulate(whole.begin(), whole.end(), 0.0), direct,
              direct * 1e-12);
}

TEST(ClipFactorTest, BvlcsRule) {
  EXPECT_EQ(ClipFactor(25, -1), 1);  // off
  EXPECT_EQ(ClipFactor(25, 10), 1);
  EXPECT_EQ(ClipFactor(25, 5), 1);
  EXPECT_FLOAT_EQ(ClipFactor(25, 2), 0.4f);
  EXPECT_EQ(ClipFactor(25, 0), 0);
  EXPECT_EQ(ClipFactor(std::numeric_limits<double>::quiet_NaN(), 2), 1);
}

}  // namespace
}  // namespace cssp
