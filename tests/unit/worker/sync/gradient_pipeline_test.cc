#include "worker/sync/gradient_pipeline.h"

#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "common/base/thread.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/worker/sync/test_layout.h"

namespace cssp {
namespace {

using Sent = std::vector<std::pair<int, int64_t>>;

class GradientPipelineTest : public testing::Test {
 protected:
  GradientPipelineTest()
      : layout_(TestLayout()),
        pipeline_(layout_, [this](int chunk, int64_t clock) {
          sent_.push_back({chunk, clock});
        }) {}

  void Clock(int64_t clock) {
    ASSERT_TRUE(pipeline_.AwaitSlot(clock).ok());
    for (int param = 0; param < 3; ++param) pipeline_.Ready(param, clock);
    pipeline_.Flush(clock);
  }

  const ps::SlabLayout layout_;
  Sent sent_;
  GradientPipeline pipeline_;
};

TEST_F(GradientPipelineTest, AChunkLeavesWithItsLastParameter) {
  ASSERT_TRUE(pipeline_.AwaitSlot(0).ok());
  const int shared = layout_.first_chunk_of(1);
  ASSERT_EQ(layout_.last_chunk_of(2), shared) << "small blobs are packed";
  pipeline_.Ready(0, 0);
  for (const auto& [chunk, clock] : sent_)
    EXPECT_FALSE(chunk == shared && layout_.last_chunk_of(0) == shared);
  const size_t before = sent_.size();
  pipeline_.Ready(1, 0);
  EXPECT_EQ(sent_.size(), before) << "its neighbour is missing";
  pipeline_.Ready(2, 0);
  EXPECT_EQ(sent_.size(), layout_.chunks().size());
  EXPECT_EQ(sent_.back(), std::make_pair(shared, int64_t{0}));
  pipeline_.Flush(0);
  EXPECT_EQ(sent_.size(), layout_.chunks().size()) << "nothing twice";
}

TEST_F(GradientPipelineTest, AGenerationWaitsForItsAcknowledgements) {
  Clock(0);
  Clock(1);
  const int chunks = static_cast<int>(layout_.chunks().size());
  for (int chunk = 0; chunk + 1 < chunks; ++chunk) pipeline_.Done(chunk, 0);
  absl::StatusOr<absl::Duration> waited;
  Thread trainer("trainer", [&] { waited = pipeline_.AwaitSlot(2); });
  absl::SleepFor(absl::Milliseconds(30));
  pipeline_.Done(chunks - 1, 0);
  trainer.Join();
  ASSERT_TRUE(waited.ok());
  EXPECT_GE(*waited, absl::Milliseconds(15));
  // Clock 1's are still out.
  EXPECT_EQ(pipeline_.AwaitAll(absl::Milliseconds(1)).code(),
            absl::StatusCode::kDeadlineExceeded);
  for (int chunk = 0; chunk < chunks; ++chunk) pipeline_.Done(chunk, 1);
  EXPECT_TRUE(pipeline_.AwaitAll(absl::Seconds(1)).ok());
}

TEST_F(GradientPipelineTest, FailureEndsTheWait) {
  Clock(0);
  Thread failing("failing", [&] {
    absl::SleepFor(absl::Milliseconds(10));
    pipeline_.Fail(absl::UnavailableError("the server is gone"));
  });
  EXPECT_EQ(pipeline_.AwaitSlot(2).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST_F(GradientPipelineTest, FlushSendsWhatWasNotSignalled) {
  ASSERT_TRUE(pipeline_.AwaitSlot(0).ok());
  pipeline_.Ready(1, 0);
  pipeline_.Flush(0);
  EXPECT_EQ(sent_.size(), layout_.chunks().size());
}

}  // namespace
}  // namespace cssp
