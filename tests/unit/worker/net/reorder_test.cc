#include "worker/net/reorder.h"

#include <vector>

#include <gtest/gtest.h>

namespace cssp {
namespace {

// The element at (n, c, h, w), by the definition of the formats.
int64_t Index(const TensorDesc& desc, int64_t n, int64_t c, int64_t h,
              int64_t w) {
  const Shape& s = desc.shape;
  if (desc.format == Format::kCaffe)
    return ((n * s.dim(1) + c) * s.dim(2) + h) * s.dim(3) + w;
  const int64_t b = desc.format == Format::kBlocked8 ? 8 : 16;
  const int64_t blocks = (s.dim(1) + b - 1) / b;
  return (((n * blocks + c / b) * s.dim(2) + h) * s.dim(3) + w) * b + c % b;
}

using Case = std::tuple<Format, Format, int>;
class ReorderFormats : public testing::TestWithParam<Case> {};

TEST_P(ReorderFormats, MovesEveryElementAndZeroesPadding) {
  const auto [a, b, channels] = GetParam();
  const Shape shape{2, channels, 3, 5};
  const TensorDesc from{shape, DType::kFloat32, a};
  const TensorDesc to{shape, DType::kFloat32, b};
  std::vector<float> in(from.stored_count(), 0), out(to.stored_count(), -7);
  std::vector<float> want(to.stored_count(), 0);
  float value = 0;
  for (int64_t n = 0; n < 2; ++n) {
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t h = 0; h < 3; ++h) {
        for (int64_t w = 0; w < 5; ++w) {
          in[Index(from, n, c, h, w)] = ++value;
          want[Index(to, n, c, h, w)] = value;
        }
      }
    }
  }
  Reorder({&from, in.data()}, {&to, out.data()});
  EXPECT_EQ(out, want);
}

INSTANTIATE_TEST_SUITE_P(
    All, ReorderFormats,
    testing::Combine(testing::Values(Format::kCaffe, Format::kBlocked8,
                                     Format::kBlocked16),
                     testing::Values(Format::kCaffe, Format::kBlocked8,
                                     Format::kBlocked16),
                     testing::Values(1, 8, 16, 20)));

}  // namespace
}  // namespace cssp
