// Winograd's convolution against the definition in double, its bits for any
// number of threads, and that the layer takes it.
#include "worker/layers/cpu/winograd.h"

#include <omp.h>

#include <cmath>
#include <ostream>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/layer_runner.h"

namespace cssp::cpu {
namespace {

using testing::LayerRunner;
using testing::Normal;
using testing::Offer;
using testing::Values;

struct Case {
  const char* name;
  WinogradShape shape;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

const Case kCases[] = {
    {"Small3", {2, 20, 50, 1, 3, {7, 9}, {1, 1}}},
    {"Small5", {2, 20, 50, 1, 5, {9, 7}, {2, 2}}},
    {"NoPad3", {3, 16, 16, 1, 3, {6, 6}, {0, 0}}},
    {"FullPad5", {1, 16, 48, 1, 5, {4, 5}, {4, 4}}},
    {"PadsDiffer", {2, 33, 17, 1, 3, {5, 8}, {0, 2}}},
    {"Groups3", {2, 32, 64, 2, 3, {8, 5}, {1, 1}}},
    {"Groups5", {1, 64, 32, 2, 5, {6, 7}, {0, 2}}},
    {"ManyTiles", {9, 32, 32, 1, 5, {16, 16}, {2, 2}}},
    {"ManyChannels", {3, 208, 224, 1, 3, {6, 6}, {1, 1}}},
};

int64_t Blocks(int64_t channels) { return (channels + 15) / 16; }

// Caffe's layout to blocks of 16 channels and back.
std::vector<float> Blocked(const Values& from, int64_t items, int64_t channels,
                           int64_t plane) {
  std::vector<float> to(items * Blocks(channels) * 16 * plane, 0);
  for (int64_t n = 0; n < items; ++n)
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t i = 0; i < plane; ++i)
        to[((n * Blocks(channels) + c / 16) * plane + i) * 16 + c % 16] =
            from[(n * channels + c) * plane + i];
  return to;
}

Values Plain(const std::vector<float>& from, int64_t items, int64_t channels,
             int64_t plane) {
  Values to(items * channels * plane);
  for (int64_t n = 0; n < items; ++n)
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t i = 0; i < plane; ++i)
        to[(n * channels + c) * plane + i] =
            from[((n * Blocks(channels) + c / 16) * plane + i) * 16 + c % 16];
  return to;
}

struct Results {
  Values top, bottom_gradient, weight_gradient, bias_gradient;
};

struct Data {
  explicit Data(const WinogradShape& s)
      : bottom(Normal(s.items * s.channels * s.in[0] * s.in[1], 1)),
        weights(
            Normal(s.outputs * s.channels / s.group * s.kernel * s.kernel, 2)),
        bias(Normal(s.outputs, 3)),
        top_gradient(Normal(s.items * s.outputs * s.out(0) * s.out(1), 4)) {}
  Values bottom, weights, bias, top_gradient;
};

// Calls body(top, bottom, weight) with the indices of every product.
template <class Body>
void ForEachProduct(const WinogradShape& s, Body body) {
  const int64_t in = s.channels / s.group, out = s.outputs / s.group;
  for (int64_t n = 0; n < s.items; ++n)
    for (int64_t o = 0; o < s.outputs; ++o)
      for (int64_t y = 0; y < s.out(0); ++y)
        for (int64_t x = 0; x < s.out(1); ++x)
          for (int64_t c = 0; c < in; ++c)
            for (int64_t i = 0; i < s.kernel; ++i)
              for (int64_t j = 0; j < s.kernel; ++j) {
                const int64_t row = y + i - s.pad[0], column = x + j - s.pad[1];
                if (row < 0 || row >= s.in[0] || column < 0 ||
                    column >= s.in[1])
                  continue;
                const int64_t channel = o / out * in + c;
                body(((n * s.outputs + o) * s.out(0) + y) * s.out(1) + x,
                     ((n * s.channels + channel) * s.in[0] + row) * s.in[1] +
                         column,
                     ((o * in + c) * s.kernel + i) * s.kernel + j);
              }
}

Results Reference(const WinogradShape& s, const Data& data) {
  const int64_t plane = s.out(0) * s.out(1);
  std::vector<double> top(data.top_gradient.size()), bottom(data.bottom.size()),
      weights(data.weights.size()), bias(data.bias.size());
  for (size_t i = 0; i < top.size(); ++i) {
    top[i] = data.bias[i / plane % s.outputs];
    bias[i / plane % s.outputs] += data.top_gradient[i];
  }
  ForEachProduct(s, [&](int64_t t, int64_t b, int64_t w) {
    top[t] += double{data.bottom[b]} * data.weights[w];
    bottom[b] += double{data.top_gradient[t]} * data.weights[w];
    weights[w] += double{data.top_gradient[t]} * data.bottom[b];
  });
  return {Values(top.begin(), top.end()), Values(bottom.begin(), bottom.end()),
          Values(weights.begin(), weights.end()),
          Values(bias.begin(), bias.end())};
}

Results Compute(const WinogradShape& s, const Data& data, int threads,
                bool add = false) {
  const int before = omp_get_max_threads();
  omp_set_num_threads(threads);
  Winograd winograd(s);
  AlignedFloats scratch(winograd.scratch_bytes() / sizeof(float));
  const int64_t in = s.in[0] * s.in[1], out = s.out(0) * s.out(1);
  const auto bottom = Blocked(data.bottom, s.items, s.channels, in);
  const auto dy = Blocked(data.top_gradient, s.items, s.outputs, out);
  // Poisoned: everything must be written, padding lanes too.
  std::vector<float> top(dy.size(), NAN), dx(bottom.size(), NAN);
  Values dw(data.weights.size(), add ? 1 : NAN), db(s.outputs, NAN);
  winograd.PackForward(data.weights.data());
  winograd.PackBackward(data.weights.data());
  winograd.Forward(bottom.data(), data.bias.data(), top.data(), scratch.data());
  winograd.BackwardData(dy.data(), dx.data(), scratch.data());
  winograd.BackwardWeights(bottom.data(), dy.data(), add, dw.data(),
                           scratch.data());
  winograd.BackwardBias(dy.data(), db.data());
  omp_set_num_threads(before);
  for (const auto* blocked : {&top, &dx})
    for (float value : *blocked) EXPECT_FALSE(std::isnan(value));
  const Values back = Plain(top, s.items, s.outputs, out);
  EXPECT_EQ(Blocked(back, s.items, s.outputs, out), top) << "padding lanes";
  return {back, Plain(dx, s.items, s.channels, in), dw, db};
}

// Relative to the largest value.
double Error(const Values& a, const Values& b) {
  double error = 0, largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error = std::max(error, std::abs(double{a[i]} - b[i]));
    largest = std::max(largest, std::abs(double{b[i]}));
  }
  return error / largest;
}

class WinogradTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (!Winograd::Supports(GetParam().shape))
      GTEST_SKIP() << "this processor has no AVX-512";
  }
};

TEST_P(WinogradTest, IsTheConvolution) {
  const WinogradShape& shape = GetParam().shape;
  const Data data(shape);
  const Results expected = Reference(shape, data);
  const Results got = Compute(shape, data, 2);
  EXPECT_LT(Error(got.top, expected.top), 2e-5);
  EXPECT_LT(Error(got.bottom_gradient, expected.bottom_gradient), 2e-5);
  // The widest matrix is the one that 5x5 sums over all tiles go through.
  EXPECT_LT(Error(got.weight_gradient, expected.weight_gradient), 5e-5);
  EXPECT_LT(Error(got.bias_gradient, expected.bias_gradient), 1e-6);
}

TEST_P(WinogradTest, AnyNumberOfThreadsGivesTheSameBits) {
  const WinogradShape& shape = GetParam().shape;
  const Data data(shape);
  const Results one = Compute(shape, data, 1);
  for (int threads : {2, 3}) {
    const Results more = Compute(shape, data, threads);
    EXPECT_EQ(more.top, one.top);
    EXPECT_EQ(more.bottom_gradient, one.bottom_gradient);
    EXPECT_EQ(more.weight_gradient, one.weight_gradient);
    EXPECT_EQ(more.bias_gradient, one.bias_gradient);
  }
}

TEST_P(WinogradTest, AddsOntoTheGradient) {
  const WinogradShape& shape = GetParam().shape;
  const Data data(shape);
  const Values written = Compute(shape, data, 2).weight_gradient;
  const Values added = Compute(shape, data, 2, true).weight_gradient;
  for (size_t i = 0; i < written.size(); ++i)
    ASSERT_EQ(added[i], written[i] + 1);
}

INSTANTIATE_TEST_SUITE_P(All, WinogradTest, ::testing::ValuesIn(kCases),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

TEST(Winograd, LeavesTheRestToOthers) {
  const WinogradShape good = {1, 32, 32, 2, 3, {8, 8}, {1, 1}};
  if (!Winograd::Supports(good)) GTEST_SKIP() << "no AVX-512";
  WinogradShape bad = good;
  bad.kernel = 7;
  EXPECT_FALSE(Winograd::Supports(bad));
  bad = good;
  bad.group = 4;  // eight channels a group
  EXPECT_FALSE(Winograd::Supports(bad));
  bad = good;
  bad.pad[1] = 3;
  EXPECT_FALSE(Winograd::Supports(bad));
  bad = good;
  bad.in[0] = 0;
  EXPECT_FALSE(Winograd::Supports(bad));
}

// The layer takes it (its results differ from the definition's by rounding)
// unless it is told not to.
TEST(Winograd, TheLayerTakesItAndCanBeToldNotTo) {
  if (!Winograd::Supports({1, 32, 32, 1, 5, {8, 8}, {2, 2}}))
    GTEST_SKIP() << "no AVX-512";
  std::vector<std::vector<Values>> results;
  for (const char* engine : {"", "engine: CAFFE"}) {
    auto run = LayerRunner::Create(
        std::string("type: 'Convolution' convolution_param { num_output: 32 "
                    "kernel_size: 5 pad: 2 ") +
            engine + "}",
        caffe::TRAIN, {{3, 32, 8, 8}}, Offer::kBlocked16);
    ASSERT_TRUE(run.ok()) << run.status();
    LayerRunner& r = **run;
    r.bottom[0] = Normal(r.bottom[0].size(), 1);
    r.param[0] = Normal(r.param[0].size(), 2);
    r.param[1] = Normal(r.param[1].size(), 3);
    ASSERT_TRUE(r.Forward().ok());
    const Values dy = Normal(r.top_shapes()[0].count(), 4);
    ASSERT_TRUE(r.Backward({dy}, GradientMode::kWrite).ok());
    results.push_back({r.top[0], r.bottom_gradient[0], r.param_gradient[0],
                       r.param_gradient[1]});
  }
  for (size_t i = 0; i < 4; ++i)
    EXPECT_LT(Error(results[0][i], results[1][i]), 2e-5) << i;
  EXPECT_NE(results[0][0], results[1][0]);
}

}  // namespace
}  // namespace cssp::cpu
