#include <cmath>
#include <ostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/gradient_checker.h"
#include "tests/testing/layer_runner.h"

namespace cssp::testing {
namespace {

struct Case {
  const char* name;
  bool across;
  int size;
  double alpha, beta, k;
  Shape bottom;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

const Case kCases[] = {
    {"Across", true, 5, 1, .75, 1, {2, 7, 3, 3}},
    {"AcrossWide", true, 15, 2, .75, 1, {1, 7, 3, 3}},
    {"AcrossBlocks", true, 5, 1, .75, 2, {1, 32, 2, 3}},
    {"AcrossAlexNet", true, 5, 1e-4, .75, 1, {1, 16, 3, 3}},
    {"AcrossBeta", true, 3, 1, .5, 1, {1, 16, 3, 3}},
    {"Within", false, 3, 1, .75, 1, {2, 7, 5, 4}},
    {"WithinIgnoresK", false, 5, 2, .75, 7, {1, 3, 4, 6}},
    {"WithinBlocks", false, 3, 5e-5, .75, 1, {1, 16, 4, 4}},
};

std::string Text(const Case& c) {
  return absl::StrCat("type: 'LRN' lrn_param { local_size: ", c.size,
                      " alpha: ", c.alpha, " beta: ", c.beta, " k: ", c.k,
                      " norm_region: ",
                      c.across ? "ACROSS_CHANNELS" : "WITHIN_CHANNEL", " }");
}

Values Reference(const Case& c, const Values& x) {
  const int64_t channels = c.bottom.dim(1), h = c.bottom.dim(2),
                w = c.bottom.dim(3);
  const auto at = [&](int64_t n, int64_t ch, int64_t i, int64_t j) {
    return double{x[((n * channels + ch) * h + i) * w + j]};
  };
  const int64_t r = c.size / 2;
  Values y;
  for (int64_t n = 0; n < c.bottom.dim(0); ++n)
    for (int64_t ch = 0; ch < channels; ++ch)
      for (int64_t i = 0; i < h; ++i)
        for (int64_t j = 0; j < w; ++j) {
          double sum = 0;
          for (int64_t a = -r; a <= r; ++a) {
            if (c.across) {
              if (ch + a < 0 || ch + a >= channels) continue;
              sum += std::pow(at(n, ch + a, i, j), 2);
              continue;
            }
            for (int64_t b = -r; b <= r; ++b) {
              if (i + a < 0 || i + a >= h || j + b < 0 || j + b >= w) continue;
              sum += std::pow(at(n, ch, i + a, j + b), 2);
            }
          }
          const double n_l = c.across ? c.size : c.size * c.size;
          y.push_back(static_cast<float>(
              at(n, ch, i, j) * std::pow((c.across ? c.k : 1) +
                                             c.alpha / n_l * sum,
                                         -c.beta)));
        }
  return y;
}

class LrnLayerTest : public ::testing::TestWithParam<Case> {};

TEST_P(LrnLayerTest, ForwardIsTheDefinition) {
  const Case& c = GetParam();
  for (Offer offer : {Offer::kForceCaffe, Offer::kCaffe, Offer::kBlocked8,
                      Offer::kBlocked16}) {
    auto run = LayerRunner::Create(Text(c), caffe::TRAIN, {c.bottom}, offer);
    ASSERT_TRUE(run.ok()) << run.status();
    (*run)->bottom[0] = Normal(c.bottom.count(), 1, 2);
    ASSERT_TRUE((*run)->Forward().ok());
    EXPECT_THAT((*run)->top[0],
                ::testing::Pointwise(::testing::FloatNear(1e-4),
                                     Reference(c, (*run)->bottom[0])))
        << OfferName(offer);
  }
}

TEST_P(LrnLayerTest, Gradients) {
  EXPECT_EQ(CheckGradients({.layer = Text(GetParam()),
                            .bottom = {GetParam().bottom}}),
            "");
}

INSTANTIATE_TEST_SUITE_P(
    All, LrnLayerTest, ::testing::ValuesIn(kCases),
    [](const auto& info) { return std::string(info.param.name); });

TEST(LrnLayer, AsksForABlockedFormat) {
  auto run = LayerRunner::Create("type: 'LRN'", caffe::TRAIN, {{1, 16, 4, 4}});
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_NE((*run)->formats().bottom[0], Format::kCaffe);
}

TEST(LrnLayer, RefusesAnEvenSize) {
  EXPECT_FALSE(LayerRunner::Create("type: 'LRN' lrn_param { local_size: 4 }",
                                   caffe::TRAIN, {{1, 2, 3, 3}})
                   .ok());
}

}  // namespace
}  // namespace cssp::testing
