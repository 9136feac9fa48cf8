#include "common/optim/chunk_update.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/logging.h"
#include "google/protobuf/text_format.h"

#include "tests/testing/formed_gradient.h"

namespace cssp {
namespace {

using ::testing::ElementsAre;

std::unique_ptr<ChunkUpdate> Update(const std::string& text) {
  caffe::SolverParameter solver;
  CHECK(google::protobuf::TextFormat::ParseFromString(text, &solver));
  return ChunkUpdate::Create(solver).value();
}

// Two blobs with padding between them, and a statistic.
const std::vector<UpdateSegment> kSegments = {
    {.offset = 0, .count = 2, .multipliers = {1, 1}},
    {.offset = 4, .count = 1, .multipliers = {2, 0}},
    {.offset = 6,
     .count = 1,
     .statistic = true,
     .moving_average_fraction = 0.5f},
};

TEST(ChunkUpdateTest, OrderIsClipIterSizeDecayRule) {
  const auto update = Update(
      "type: 'SGD' momentum: 0.5 weight_decay: 0.5 iter_size: 2"
      " clip_gradients: 5");
  std::vector<float> mean = {6, 0, -1, -1, 8, -1, 3};
  const std::vector<float> in = {4, 8, 77, 77, 2, 77, 10};
  std::vector<double> partials;
  update->NormPartials(kSegments, in, mean, 4, &partials);
  EXPECT_THAT(partials, ElementsAre(36, 64));  // no statistic, no padding
  const UpdateScales scales = update->Scales(kSegments, 4, partials);
  EXPECT_EQ(scales.clip, 0.5f);  // norm 10
  EXPECT_TRUE(scales.rates.empty());

  std::vector<float> out(7, -1), history(7, 0);
  float* slots[] = {history.data()};
  update->Apply({0.5f, 0}, scales, kSegments, in, absl::MakeSpan(out), slots,
                absl::MakeSpan(mean));
  // Blob 0: 6 / 4 + 0.5 * 4 = 3.5, 0 + 0.5 * 8 = 4; rate 0.5.
  // Blob 1: 8 / 4 = 2, no decay, rate 1.  Statistic: 0.5 * 10 + 3 / 2.
  EXPECT_THAT(out, ElementsAre(2.25f, 6, -1, -1, 0, -1, 6.5f));
  EXPECT_THAT(history, ElementsAre(1.75f, 2, 0, 0, 2, 0, 0));
}

// More than one stripe: the same bits as decay and rule over the whole.
TEST(ChunkUpdateTest, LongSegmentsAreTheSumOfTheirParts) {
  constexpr int64_t kCount = 20011;
  const std::string text = "type: 'Adam' momentum: 0.9 weight_decay: 0.01";
  caffe::SolverParameter solver;
  CHECK(google::protobuf::TextFormat::ParseFromString(text, &solver));
  std::vector<float> in(kCount), mean(kCount), out(kCount), expected(kCount);
  for (int64_t i = 0; i < kCount; ++i) {
    in[i] = 0.001f * static_cast<float>(i % 777) - 0.3f;
    mean[i] = 0.002f * static_cast<float>(i % 555) - 0.5f;
  }
  std::vector<float> m(kCount), v(kCount), m2 = m, v2 = v;
  float* slots[] = {m.data(), v.data()};
  float* slots2[] = {m2.data(), v2.data()};
  Update(text)->Apply({0.1f, 2}, {}, {{.offset = 0, .count = kCount}}, in,
                      absl::MakeSpan(out), slots, absl::MakeSpan(mean));
  const std::vector<float> gradient =
      Formed(Regularizer::Create(solver)->Form(1, {1, 1}), in, mean);
  UpdateRule::Create(solver).value()->Apply(
      {0.1f, 2}, {1, 1}, GradientForm(),
      {.weights_in = in,
       .weights_out = absl::MakeSpan(expected),
       .history = slots2,
       .gradient = gradient});
  EXPECT_EQ(out, expected);
  EXPECT_EQ(m, m2);
  EXPECT_EQ(v, v2);
}

TEST(ChunkUpdateTest, WithoutClippingNoNormIsNeeded) {
  const auto update = Update("type: 'SGD'");
  EXPECT_FALSE(update->needs_norms());
  EXPECT_EQ(update->Scales(kSegments, 4, {1e30}).clip, 1);
}

TEST(ChunkUpdateTest, RefusesIterSizeZero) {
  caffe::SolverParameter solver;
  solver.set_iter_size(0);
  EXPECT_EQ(ChunkUpdate::Create(solver).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace cssp
