#include "worker/data/record_dealer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <numeric>
#include <set>
#include <utility>
#include <vector>

namespace cssp {
namespace {

TEST(PermuteIndex, IsAPermutationOfEverySize) {
  for (int64_t size = 1; size <= 260; ++size) {
    std::set<int64_t> images;
    for (int64_t i = 0; i < size; ++i) {
      const int64_t image = PermuteIndex(i, size, 7, size % 5);
      ASSERT_GE(image, 0);
      ASSERT_LT(image, size);
      images.insert(image);
    }
    ASSERT_EQ(static_cast<int64_t>(images.size()), size);
  }
}

TEST(PermuteIndex, DiffersByEpochAndSeedAndMixes) {
  constexpr int64_t kSize = 50000;
  int same_epoch = 0, same_seed = 0, fixed = 0;
  double distance = 0;
  for (int64_t i = 0; i < kSize; ++i) {
    const int64_t image = PermuteIndex(i, kSize, 1, 0);
    same_epoch += image == PermuteIndex(i, kSize, 1, 1);
    same_seed += image == PermuteIndex(i, kSize, 2, 0);
    fixed += image == i;
    distance += std::abs(static_cast<double>(image - i));
  }
  // Each is Poisson of mean 1 for random permutations.
  EXPECT_LT(same_epoch, 12);
  EXPECT_LT(same_seed, 12);
  EXPECT_LT(fixed, 12);
  EXPECT_NEAR(distance / kSize, kSize / 3.0, kSize / 100.0);
}

TEST(PermuteIndex, TakesHugeSizes) {
  constexpr int64_t kSize = (int64_t{1} << 40) + 12345;
  std::set<int64_t> images;
  for (int64_t i = 0; i < 1000; ++i) {
    const int64_t image = PermuteIndex(kSize - 1 - i, kSize, 3, 9);
    ASSERT_LT(image, kSize);
    images.insert(image);
  }
  EXPECT_EQ(images.size(), 1000u);
}

TEST(RecordOrder, GivesEachRecordOnceAnEpoch) {
  for (const bool shuffle : {false, true}) {
    const RecordOrder order(103, shuffle, 5);
    for (int64_t epoch = 0; epoch < 3; ++epoch) {
      std::set<int64_t> seen;
      for (int64_t j = 0; j < 103; ++j) {
        const RecordId id = order.At(epoch * 103 + j);
        EXPECT_EQ(id.epoch, epoch);
        if (!shuffle) {
          EXPECT_EQ(id.index, j);
        }
        seen.insert(id.index);
      }
      EXPECT_EQ(seen.size(), 103u);
    }
  }
}

// Positions that all workers take in clocks [0, clocks).
std::vector<int64_t> Dealt(const DealSchedule& schedule, int32_t workers,
                           int64_t batch, int32_t iter_size, int64_t from,
                           int64_t clocks) {
  std::vector<int64_t> positions;
  for (int64_t c = from; c < from + clocks; ++c)
    for (int32_t i = 0; i < iter_size; ++i)
      for (int32_t r = 0; r < workers; ++r)
        for (int64_t j = 0; j < batch; ++j)
          positions.push_back(schedule.FirstPosition(c, i, r) + j);
  return positions;
}

std::vector<int64_t> FirstN(int64_t n) {
  std::vector<int64_t> all(n);
  std::iota(all.begin(), all.end(), 0);
  return all;
}

TEST(DealSchedule, DealsEveryPositionOnceForAnyCounts) {
  for (const int32_t workers : {1, 2, 3, 5}) {
    for (const int32_t iter_size : {1, 2, 3}) {
      const auto schedule = DealSchedule::Create(0, 0, workers, 7, iter_size);
      ASSERT_TRUE(schedule.ok());
      const auto dealt = Dealt(*schedule, workers, 7, iter_size, 0, 10);
      // In order, too: clock, pass, rank, item.
      EXPECT_EQ(dealt, FirstN(10 * workers * iter_size * 7));
    }
  }
}

TEST(DealSchedule, AClocksRecordsDoNotDependOnTheNumberOfWorkers) {
  // The same effective batch of 60, cut in different ways.
  std::map<int, std::vector<int64_t>> of_workers;
  for (const int32_t workers : {1, 2, 3, 4, 6}) {
    const auto schedule =
        DealSchedule::Create(0, 0, workers, 60 / workers, 1);
    ASSERT_TRUE(schedule.ok());
    of_workers[workers] =
        Dealt(*schedule, workers, 60 / workers, 1, 17, 1);
  }
  for (const auto& [workers, positions] : of_workers)
    EXPECT_EQ(positions, of_workers[1]) << workers;
}

TEST(DealSchedule, GoesOnWithoutAGapWhenCountsChange) {
  auto schedule = DealSchedule::Create(0, 0, 4, 5, 2);
  ASSERT_TRUE(schedule.ok());
  ASSERT_TRUE(schedule->AddDeal(6, 3, 5).ok());
  ASSERT_TRUE(schedule->AddDeal(9, 2, 8).ok());
  std::vector<int64_t> all;
  const auto append = [&all](std::vector<int64_t> part) {
    all.insert(all.end(), part.begin(), part.end());
  };
  append(Dealt(*schedule, 4, 5, 2, 0, 6));
  append(Dealt(*schedule, 3, 5, 2, 6, 3));
  append(Dealt(*schedule, 2, 8, 2, 9, 4));
  EXPECT_EQ(all, FirstN(static_cast<int64_t>(all.size())));
  EXPECT_FALSE(schedule->AddDeal(8, 2, 8).ok());
}

TEST(DealSchedule, ResumesOnOtherCountsWhereTheRecordsEnded) {
  const auto before = DealSchedule::Create(0, 0, 4, 25, 1);
  ASSERT_TRUE(before.ok());
  const int64_t ended = before->FirstPosition(40, 0, 0);
  const auto after = DealSchedule::Create(40, ended, 3, 25, 1);
  ASSERT_TRUE(after.ok());
  EXPECT_EQ(after->FirstPosition(40, 0, 0), 4000);
  EXPECT_EQ(after->FirstPosition(41, 0, 1), 4000 + 3 * 25 + 25);
}

TEST(DealSchedule, RefusesCountsBelowOne) {
  EXPECT_FALSE(DealSchedule::Create(0, 0, 0, 1, 1).ok());
  EXPECT_FALSE(DealSchedule::Create(0, 0, 1, 0, 1).ok());
  EXPECT_FALSE(DealSchedule::Create(0, 0, 1, 1, 0).ok());
}

}  // namespace
}  // namespace cssp
