#include "server/shard/ssp_controller.h"

#include <atomic>

#include "common/base/thread.h"
#include "gtest/gtest.h"

namespace cssp {
namespace {

TEST(SspControllerTest, AdmitsByTheBound) {
  SspController gate(2, 1);
  EXPECT_TRUE(gate.AwaitReadable(1, absl::InfinitePast()).ok());
  EXPECT_TRUE(
      absl::IsDeadlineExceeded(gate.AwaitReadable(2, absl::InfinitePast())));
  gate.Tick(0);
  EXPECT_FALSE(gate.AwaitReadable(2, absl::InfinitePast()).ok());
  gate.Tick(1);
  EXPECT_TRUE(gate.AwaitReadable(2, absl::InfinitePast()).ok());
  gate.SetStaleness(kAsync);
  EXPECT_TRUE(gate.AwaitReadable(1 << 30, absl::InfinitePast()).ok());
}

TEST(SspControllerTest, WorkersStayWithinTheBound) {
  constexpr int kWorkers = 4, kClocks = 200, kStaleness = 2;
  SspController gate(kWorkers, kStaleness);
  std::atomic<int64_t> clocks[kWorkers] = {};
  std::atomic<int> violations{0};
  std::vector<Thread> threads;
  for (int w = 0; w < kWorkers; ++w) {
    threads.emplace_back("worker", [&, w] {
      for (int c = 0; c < kClocks; ++c) {
        if (!gate.AwaitReadable(c, absl::InfiniteFuture()).ok()) ++violations;
        for (const auto& other : clocks) {
          if (other.load() < c - kStaleness) ++violations;
        }
        clocks[w].store(c + 1);
        gate.Tick(w);
      }
      gate.Finish(w);
    });
  }
  threads.clear();
  EXPECT_EQ(violations.load(), 0);
}

}  // namespace
}  // namespace cssp
