#include "worker/sync/param_cache.h"

#include <algorithm>
#include <vector>

#include "absl/time/clock.h"
#include "common/base/thread.h"
#include "gtest/gtest.h"
#include "tests/unit/worker/sync/test_layout.h"

namespace cssp {
namespace {

class ParamCacheTest : public testing::Test {
 protected:
  ParamCacheTest() : layout_(TestLayout()), slab_(layout_.size(), -1.0f) {}

  ParamCache Make(int64_t staleness) {
    return ParamCache(layout_, absl::MakeSpan(slab_), staleness);
  }
  // Version `version` arrives whole, every float the version.
  void Arrive(ParamCache& cache, int chunk, int64_t version) {
    bool lost = false;
    float* memory = cache.BeginArrival(chunk, {.row = version}, &lost);
    ASSERT_NE(memory, nullptr);
    std::fill_n(memory, layout_.chunks()[chunk].count,
                static_cast<float>(version));
    cache.EndArrival(chunk, memory, true);
  }
  float Value(int chunk) const { return slab_[layout_.chunks()[chunk].offset]; }

  const ps::SlabLayout layout_;
  std::vector<float> slab_;
  TimeSource& time_ = TimeSource::Real();
};

TEST_F(ParamCacheTest, InstallsOnlyWhatIsAwaited) {
  ParamCache cache = Make(0);
  ASSERT_GE(layout_.chunks().size(), 3u);
  Arrive(cache, 0, 5);
  Arrive(cache, 1, 5);
  auto read = cache.Install(0, 5, absl::InfinitePast(), time_);
  ASSERT_TRUE(read.ok());
  EXPECT_TRUE(read->changed);
  EXPECT_TRUE(read->first);
  EXPECT_EQ(read->version, 5);
  EXPECT_EQ(Value(0), 5);
  EXPECT_EQ(Value(1), -1) << "not yet read";
  EXPECT_EQ(cache.installed(1), -1);
}

TEST_F(ParamCacheTest, OneVersionForTheWholeClock) {
  ParamCache cache = Make(2);
  Arrive(cache, 0, 3);
  ASSERT_EQ(cache.Install(0, 5, absl::InfinitePast(), time_)->version, 3);
  Arrive(cache, 0, 5);
  auto again = cache.Install(0, 5, absl::InfinitePast(), time_);
  EXPECT_EQ(again->version, 3);
  EXPECT_FALSE(again->first);
  EXPECT_TRUE(again->changed) << "its second reader sees new contents, too";
  EXPECT_EQ(cache.Install(0, 6, absl::InfinitePast(), time_)->version, 5);
  // Nothing new came: the slab has not moved.
  EXPECT_FALSE(cache.Install(0, 7, absl::InfinitePast(), time_)->changed);
}

TEST_F(ParamCacheTest, NeverAVersionBeyondTheClock) {
  ParamCache cache = Make(1);
  Arrive(cache, 0, 4);
  Arrive(cache, 0, 6);
  // 4 was freed when 6 came; nothing fit for clock 5 is left.
  cache.Fail(absl::CancelledError("end of the wait"));
  EXPECT_EQ(cache.Install(0, 5, absl::InfinitePast(), time_).status().code(),
            absl::StatusCode::kCancelled);
}

TEST_F(ParamCacheTest, WaitsForTheBound) {
  ParamCache cache = Make(1);
  Arrive(cache, 0, 3);
  absl::StatusOr<ParamCache::Read> read;
  Thread reader("reader", [&] {
    read = cache.Install(0, 5, absl::InfinitePast(), time_);
  });
  absl::SleepFor(absl::Milliseconds(30));
  EXPECT_EQ(Value(0), -1) << "3 is too old for clock 5 at s = 1";
  Arrive(cache, 0, 4);
  reader.Join();
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->version, 4);
  EXPECT_GE(read->waited, absl::Milliseconds(20));
  EXPECT_EQ(read->waited_fresh, absl::ZeroDuration());
}

TEST_F(ParamCacheTest, WaitsALittleForTheFreshVersion) {
  ParamCache cache = Make(2);
  Arrive(cache, 0, 4);
  const absl::Time begin = time_.Now();
  auto read = cache.Install(0, 5, begin + absl::Milliseconds(40), time_);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->version, 4) << "the bound was met, 5 never came";
  EXPECT_GE(read->waited_fresh, absl::Milliseconds(30));

  Arrive(cache, 1, 4);
  Thread sender("sender", [&] { Arrive(cache, 1, 5); });
  read = cache.Install(1, 5, time_.Now() + absl::Seconds(20), time_);
  sender.Join();
  EXPECT_EQ(read->version, 5);
}

TEST_F(ParamCacheTest, SlotsAreReusedAndNothingOldIsTaken) {
  ParamCache cache = Make(1);
  bool lost = false;
  float* first = cache.BeginArrival(0, {.row = 1}, &lost);
  float* second = cache.BeginArrival(0, {.row = 2}, &lost);
  float* third = cache.BeginArrival(0, {.row = 3}, &lost);
  ASSERT_TRUE(first && second && third);
  EXPECT_EQ(cache.BeginArrival(0, {.row = 4}, &lost), nullptr);
  EXPECT_TRUE(lost) << "all slots are being written";
  EXPECT_EQ(cache.BeginArrival(0, {.row = 2}, &lost), nullptr);
  EXPECT_FALSE(lost) << "a newer one is on its way";
  cache.EndArrival(0, second, true);
  cache.EndArrival(0, first, true);
  EXPECT_EQ(cache.newest(0).row, 2) << "a late old version does not win";
  cache.EndArrival(0, third, false);
  EXPECT_EQ(cache.newest(0).row, 2) << "an unfinished one does not count";
  EXPECT_NE(cache.BeginArrival(0, {.row = 3}, &lost), nullptr);
}

TEST_F(ParamCacheTest, AnOrderChangesTheBoundFromItsClock) {
  ParamCache cache = Make(0);
  cache.SetStaleness(2, 10);
  Arrive(cache, 0, 9);
  EXPECT_EQ(cache.Install(0, 9, absl::InfinitePast(), time_)->version, 9);
  EXPECT_EQ(cache.Install(0, 11, absl::InfinitePast(), time_)->version, 9);
  cache.Fail(absl::CancelledError("end of the wait"));
  EXPECT_FALSE(cache.Install(0, 12, absl::InfinitePast(), time_).ok());
}

TEST_F(ParamCacheTest, ReadMyWrites) {
  ParamCache cache = Make(2);
  const auto arrive = [&](int64_t row, int64_t own) {
    bool lost = false;
    float* memory = cache.BeginArrival(0, {.row = row, .own = own}, &lost);
    if (memory == nullptr) return false;
    std::fill_n(memory, layout_.chunks()[0].count, static_cast<float>(own));
    cache.EndArrival(0, memory, true);
    return true;
  };
  EXPECT_FALSE(cache.Fit(0, 0));
  ASSERT_TRUE(arrive(3, 4));
  EXPECT_TRUE(cache.Fit(0, 4));
  EXPECT_FALSE(cache.Fit(0, 5)) << "row 3 would do, its own clock 4 is not in";
  EXPECT_FALSE(arrive(3, 4));
  ASSERT_TRUE(arrive(3, 5)) << "newer in one's own clocks";
  ASSERT_TRUE(cache.Fit(0, 5));
  EXPECT_EQ(cache.Install(0, 5, absl::InfinitePast(), time_)->version, 3);
  EXPECT_EQ(Value(0), 5);
  ASSERT_TRUE(arrive(3, 6));
  EXPECT_FALSE(cache.Fit(0, 6)) << "the others' clock 3 is not in";
  ASSERT_TRUE(arrive(4, 6));
  EXPECT_TRUE(cache.Fit(0, 6));
}

}  // namespace
}  // namespace cssp
