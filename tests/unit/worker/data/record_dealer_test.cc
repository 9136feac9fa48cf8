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

DealSchedule Schedule(int64_t clock, int64_t position, int32_t workers,
                      int64_t batch, int32_t iter_size) {
  auto schedule = DealSchedule::Create(
      {clock, position, EqualShares(workers, batch)}, iter_size);
  EXPECT_TRUE(schedule.ok()) << schedule.status();
  return *std::move(schedule);
}

// Positions that the workers of `shares` take in `clocks` clocks from `from` on.
std::vector<int64_t> Dealt(const DealSchedule& schedule,
                           const std::vector<Share>& shares, int32_t iter_size,
                           int64_t from, int64_t clocks) {
  std::vector<int64_t> positions;
  for (int64_t c = from; c < from + clocks; ++c)
    for (int32_t i = 0; i < iter_size; ++i)
      for (const Share& share : shares) {
        EXPECT_EQ(schedule.BatchOf(c, share.rank), share.batch);
        for (int64_t j = 0; j < share.batch; ++j)
          positions.push_back(schedule.FirstPosition(c, i, share.rank) + j);
      }
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
      const DealSchedule schedule = Schedule(0, 0, workers, 7, iter_size);
      // In order, too: clock, pass, rank, item.
      EXPECT_EQ(Dealt(schedule, EqualShares(workers, 7), iter_size, 0, 10),
                FirstN(10 * workers * iter_size * 7));
    }
  }
}

TEST(DealSchedule, AClocksRecordsDoNotDependOnTheNumberOfWorkers) {
  // The same effective batch of 60, cut in different ways.
  std::map<int, std::vector<int64_t>> of_workers;
  for (const int32_t workers : {1, 2, 3, 4, 6}) {
    const DealSchedule schedule = Schedule(0, 0, workers, 60 / workers, 1);
    of_workers[workers] =
        Dealt(schedule, EqualShares(workers, 60 / workers), 1, 17, 1);
  }
  for (const auto& [workers, positions] : of_workers)
    EXPECT_EQ(positions, of_workers[1]) << workers;
}

TEST(DealSchedule, RanksMayBeMissingAndTakeDifferentNumbers) {
  DealSchedule schedule = Schedule(0, 0, 4, 5, 1);
  ASSERT_TRUE(schedule.AddDeal(2, {{0, 5}, {3, 2}, {7, 9}}).ok());
  EXPECT_EQ(schedule.BatchOf(1, 2), 5);
  EXPECT_EQ(schedule.BatchOf(2, 2), 0);
  EXPECT_EQ(schedule.FirstPosition(2, 0, 0), 40);
  EXPECT_EQ(schedule.FirstPosition(2, 0, 3), 45);
  EXPECT_EQ(schedule.FirstPosition(3, 0, 7), 40 + 16 + 7);
  schedule.Prune(2);
  EXPECT_EQ(schedule.deals().size(), 1u);
  EXPECT_EQ(schedule.FirstPosition(3, 0, 7), 40 + 16 + 7);
}

// Random histories: workers join, leave and change their batches at random
// clocks, base sizes and batches do not divide each other.  Every epoch deals
// each record once, the last one as far as it goes.
TEST(DealSchedule, EveryEpochDealsEachRecordOnceUnderRandomMembership) {
  uint64_t state = 12345;
  const auto below = [&state](uint64_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<int64_t>((state >> 33) % n);
  };
  for (int history = 0; history < 300; ++history) {
    const int32_t iter_size = 1 + static_cast<int32_t>(below(3));
    const int64_t size = 20 + below(200);
    const RecordOrder order(size, /*shuffle=*/true, history);
    std::vector<Share> shares;
    const auto draw = [&] {
      shares.clear();
      for (int32_t rank = 0; rank < 6; ++rank)
        if (below(2) == 0) shares.push_back({rank, 1 + below(13)});
      if (shares.empty()) shares.push_back({0, 1});
    };
    draw();
    auto schedule = DealSchedule::Create({0, 0, shares}, iter_size);
    ASSERT_TRUE(schedule.ok());
    std::map<int64_t, std::multiset<int64_t>> epochs;
    std::vector<int64_t> positions;
    for (int64_t clock = 0; clock < 60; ++clock) {
      if (clock > 0 && below(4) == 0) {
        draw();
        ASSERT_TRUE(schedule->AddDeal(clock, shares).ok());
      }
      for (const int64_t position :
           Dealt(*schedule, shares, iter_size, clock, 1)) {
        positions.push_back(position);
        const RecordId id = order.At(position);
        epochs[id.epoch].insert(id.index);
      }
    }
    ASSERT_EQ(positions, FirstN(static_cast<int64_t>(positions.size())));
    for (const auto& [epoch, indices] : epochs) {
      const bool last = epoch == epochs.rbegin()->first;
      ASSERT_EQ(std::set<int64_t>(indices.begin(), indices.end()).size(),
                indices.size())
          << "history " << history << ": a record twice in epoch " << epoch;
      if (!last) {
        ASSERT_EQ(static_cast<int64_t>(indices.size()), size);
      }
    }
  }
}

TEST(DealSchedule, ResumesOnOtherCountsWhereTheRecordsEnded) {
  const DealSchedule before = Schedule(0, 0, 4, 25, 1);
  const int64_t ended = before.FirstPosition(40, 0, 0);
  const DealSchedule after = Schedule(40, ended, 3, 25, 1);
  EXPECT_EQ(after.FirstPosition(40, 0, 0), 4000);
  EXPECT_EQ(after.FirstPosition(41, 0, 1), 4000 + 3 * 25 + 25);
}

TEST(DealSchedule, RefusesWhatCannotBe) {
  EXPECT_FALSE(DealSchedule::Create({0, 0, {}}, 1).ok());
  EXPECT_FALSE(DealSchedule::Create({0, 0, {{0, 0}}}, 1).ok());
  EXPECT_FALSE(DealSchedule::Create({0, 0, {{1, 1}, {0, 1}}}, 1).ok());
  EXPECT_FALSE(DealSchedule::Create({0, -1, {{0, 1}}}, 1).ok());
  EXPECT_FALSE(DealSchedule::Create({0, 0, {{0, 1}}}, 0).ok());
  DealSchedule schedule = Schedule(5, 0, 2, 1, 1);
  EXPECT_FALSE(schedule.AddDeal(4, {{0, 1}}).ok());
}

}  // namespace
}  // namespace cssp
