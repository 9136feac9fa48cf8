// LARS against its definition, written out in double.
#include <cmath>
#include <vector>

#include "common/base/logging.h"
#include "common/optim/chunk_update.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace cssp {
namespace {

constexpr int64_t kBlock = 16;

caffe::SolverParameter Solver(const std::string& text) {
  caffe::SolverParameter solver;
  CHECK(google::protobuf::TextFormat::ParseFromString(text, &solver));
  return solver;
}

// Three blobs behind each other, the last one a statistic.
const std::vector<UpdateSegment> kBlobs = {
    {.offset = 0, .count = 40, .multipliers = {1, 1}, .blob = 0},
    {.offset = 48, .count = 7, .multipliers = {2, 0}, .blob = 1},
    {.offset = 64,
     .count = 4,
     .statistic = true,
     .moving_average_fraction = 0.5f,
     .blob = 2},
};

struct Arrays {
  std::vector<float> weights = std::vector<float>(68);
  std::vector<float> gradient = std::vector<float>(68);
  std::vector<float> history = std::vector<float>(68);
};

Arrays Start() {
  Arrays arrays;
  for (int i = 0; i < 68; ++i) {
    arrays.weights[i] = std::sin(0.7f * static_cast<float>(i)) + 0.1f;
    arrays.gradient[i] = 3 * std::cos(0.3f * static_cast<float>(i));
  }
  return arrays;
}

UpdateScales ScalesOf(const ChunkUpdate& update, const Arrays& arrays) {
  std::vector<double> partials;
  update.NormPartials(kBlobs, arrays.weights, arrays.gradient, kBlock,
                      &partials);
  EXPECT_EQ(partials.size(), 2u * (3 + 1));  // blocks of 40 and of 7
  return update.Scales(kBlobs, kBlock, partials);
}

double Norm(const std::vector<float>& values, const UpdateSegment& blob) {
  double sum = 0;
  for (int64_t i = 0; i < blob.count; ++i)
    sum += double{values[blob.offset + i]} * values[blob.offset + i];
  return std::sqrt(sum);
}

// The update by the definition, over several clocks: clip, 1/iter_size, rate by
// norms, decay, momentum.
TEST(LarsTest, FollowsTheDefinition) {
  const auto solver = Solver(
      "lars_eta: 0.02 momentum: 0.9 weight_decay: 0.1 iter_size: 2 "
      "clip_gradients: 4");
  const auto update = ChunkUpdate::Create(solver).value();
  ASSERT_TRUE(update->needs_norms());
  ASSERT_EQ(update->norms_per_block(), 2);
  Arrays ours = Start();
  std::vector<double> w(ours.weights.begin(), ours.weights.end()), h(68, 0);
  for (int clock = 0; clock < 4; ++clock) {
    const std::vector<float> g = Start().gradient;
    const double global = std::hypot(Norm(g, kBlobs[0]), Norm(g, kBlobs[1]));
    ASSERT_GT(global, 4);
    for (int b = 0; b < 2; ++b) {
      const UpdateSegment& blob = kBlobs[b];
      const double decay = 0.1 * blob.multipliers.decay_mult;
      const double factor = 4 / global / 2;
      double w_norm = 0;
      for (int64_t i = 0; i < blob.count; ++i)
        w_norm += w[blob.offset + i] * w[blob.offset + i];
      w_norm = std::sqrt(w_norm);
      const double rate = 0.5 * blob.multipliers.lr_mult * 0.02 * w_norm /
                          (Norm(g, blob) * factor + decay * w_norm);
      for (int64_t i = blob.offset; i < blob.offset + blob.count; ++i) {
        h[i] = 0.9 * h[i] + rate * (g[i] * factor + decay * w[i]);
        w[i] -= h[i];
      }
    }
    ours.gradient = g;
    const UpdateScales scales = ScalesOf(*update, ours);
    float* slots[] = {ours.history.data()};
    update->Apply({0.5f, clock}, scales, kBlobs, ours.weights,
                  absl::MakeSpan(ours.weights), slots,
                  absl::MakeSpan(ours.gradient));
  }
  for (int b = 0; b < 2; ++b)
    for (int64_t i = 0; i < kBlobs[b].count; ++i)
      EXPECT_NEAR(ours.weights[kBlobs[b].offset + i], w[kBlobs[b].offset + i],
                  1e-5);
  EXPECT_NE(ours.weights[0], Start().weights[0]);
}

TEST(LarsTest, AZeroNormLeavesTheRateAlone) {
  const auto update =
      ChunkUpdate::Create(Solver("lars_eta: 0.02 weight_decay: 0.1")).value();
  Arrays arrays = Start();
  std::fill_n(arrays.weights.begin() + 48, 7, 0.0f);  // a bias at its start
  EXPECT_EQ(ScalesOf(*update, arrays).rates[1], 1);
  EXPECT_NE(ScalesOf(*update, arrays).rates[0], 1);
  arrays = Start();
  std::fill_n(arrays.gradient.begin(), 40, 0.0f);
  EXPECT_EQ(ScalesOf(*update, arrays).rates[0], 1);
  arrays.gradient[3] = NAN;  // shows up in the weights, as without LARS
  EXPECT_EQ(ScalesOf(*update, arrays).rates[0], 1);
}

// A chunk that ends inside a blob: the same partials as of the whole.
TEST(LarsTest, CuttingAtBlocksKeepsTheBits) {
  const auto update = ChunkUpdate::Create(Solver("lars_eta: 0.02")).value();
  const Arrays arrays = Start();
  std::vector<double> whole, pieces;
  update->NormPartials(kBlobs, arrays.weights, arrays.gradient, kBlock, &whole);
  const std::vector<UpdateSegment> cut = {{.offset = 0, .count = 32},
                                          {.offset = 32, .count = 8},
                                          kBlobs[1],
                                          kBlobs[2]};
  update->NormPartials(cut, arrays.weights, arrays.gradient, kBlock, &pieces);
  EXPECT_EQ(whole, pieces);
}

TEST(LarsTest, RefusesAnEtaThatCannotBe) {
  for (const char* text : {"lars_eta: -1", "lars_eta: nan", "lars_eta: inf"}) {
    const auto update = ChunkUpdate::Create(Solver(text));
    EXPECT_EQ(update.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(update.status().message()),
                testing::HasSubstr("lars_eta"));
  }
  EXPECT_FALSE(ChunkUpdate::Create(Solver(""))->get()->needs_norms());
}

}  // namespace
}  // namespace cssp
