#include "server/coordinator/batch_policy.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace cssp {
namespace {

using testing::Each;
using testing::ElementsAre;

std::vector<BatchSeat> Seats(int workers, int32_t usual) {
  std::vector<BatchSeat> seats;
  for (int rank = 0; rank < workers; ++rank)
    seats.push_back({rank, usual, usual});
  return seats;
}

int64_t Sum(const std::vector<int32_t>& batches) {
  return std::accumulate(batches.begin(), batches.end(), int64_t{0});
}

double ClockSeconds(const std::vector<int32_t>& batches,
                    const std::vector<double>& speeds) {
  double longest = 0;
  for (size_t i = 0; i < batches.size(); ++i)
    longest = std::max(longest, batches[i] / speeds[i]);
  return longest;
}

// Seconds of (rank, clock, records).
using Cost = std::function<double(int, int64_t, int32_t)>;

// Virtual time at s = 0, each proposal in force at once.
struct Outcome {
  std::vector<int32_t> batches;
  int orders = 0;
  double seconds = 0;  // of the last quarter's clocks, in the mean
};
Outcome Train(std::vector<BatchSeat> seats, int64_t clocks, const Cost& cost) {
  BatchPolicy policy;
  int64_t total = 0;
  for (const BatchSeat& seat : seats) total += seat.usual;
  Outcome outcome;
  for (int64_t clock = 0; clock < clocks; ++clock) {
    double longest = 0;
    for (const BatchSeat& seat : seats) {
      const double seconds = cost(seat.rank, clock, seat.now);
      longest = std::max(longest, seconds);
      policy.Observe(seat.rank, seat.now, seconds);
    }
    if (clock >= clocks - clocks / 4) outcome.seconds += longest;
    if (!policy.Propose(seats)) continue;
    ++outcome.orders;
    const std::vector<int32_t> batches = policy.Deal(seats);
    EXPECT_EQ(Sum(batches), total);
    for (size_t i = 0; i < seats.size(); ++i) seats[i].now = batches[i];
  }
  outcome.seconds /= static_cast<double>(clocks / 4);
  for (const BatchSeat& seat : seats) outcome.batches.push_back(seat.now);
  return outcome;
}

// A factor of e^-width..e^width, drawn for each (rank, clock).
double Noise(int rank, int64_t clock, double width) {
  std::seed_seq seed{rank, static_cast<int>(clock)};
  std::mt19937 random(seed);
  return std::exp(
      std::uniform_real_distribution<double>(-width, width)(random));
}

TEST(BatchesBySpeed, SumsAreExactBoundsHoldAndNobodyBetterIsLeft) {
  std::mt19937 random(11);
  for (int round = 0; round < 2000; ++round) {
    std::vector<BatchSeat> seats =
        Seats(1 + static_cast<int>(random() % 9),
              1 + static_cast<int32_t>(random() % 60));
    std::vector<double> speeds;
    for (size_t i = 0; i < seats.size(); ++i)
      speeds.push_back(std::exp(static_cast<double>(random() % 800) / 100 - 4));
    const std::vector<int32_t> batches = BatchesBySpeed(seats, speeds);
    int64_t total = 0;
    for (const BatchSeat& seat : seats) total += seat.usual;
    ASSERT_EQ(Sum(batches), total);
    for (size_t i = 0; i < seats.size(); ++i) {
      ASSERT_GE(batches[i], 1);
      ASSERT_LE(batches[i], BatchPolicy::kMaxGrowth * seats[i].usual);
    }
    // No record moved from who is done last shortens the clock.
    const double seconds = ClockSeconds(batches, speeds);
    for (size_t from = 0; from < seats.size(); ++from) {
      if (batches[from] / speeds[from] < seconds || batches[from] == 1) continue;
      for (size_t to = 0; to < seats.size(); ++to) {
        if (to == from ||
            batches[to] == BatchPolicy::kMaxGrowth * seats[to].usual)
          continue;
        ASSERT_GE((batches[to] + 1) / speeds[to], seconds * (1 - 1e-9));
      }
    }
  }
}

TEST(BatchesBySpeed, IsProportionalWhereNothingBinds) {
  EXPECT_THAT(BatchesBySpeed(Seats(4, 26), {4, 4, 4, 1}),
              ElementsAre(32, 32, 32, 8));
  EXPECT_THAT(BatchesBySpeed(Seats(3, 64), {2, 2, 2}), Each(64));
  EXPECT_THAT(BatchesBySpeed(Seats(2, 3), {1, 1e9}), ElementsAre(1, 5));
  EXPECT_THAT(BatchesBySpeed(Seats(4, 1), {1, 9, 9, 9}), Each(1));
  // One that could take all may grow to its bound only.
  EXPECT_THAT(BatchesBySpeed(Seats(8, 10), {1e6, 1, 1, 1, 1, 1, 1, 1}),
              ElementsAre(40, 6, 6, 6, 6, 6, 5, 5));
}

TEST(BatchPolicyTest, MovesWorkFromAPermanentStraggler) {
  const Outcome outcome = Train(Seats(4, 26), 200, [](int rank, int64_t,
                                                      int32_t records) {
    return records * (rank == 3 ? 4.0 : 1.0);
  });
  EXPECT_THAT(outcome.batches, ElementsAre(32, 32, 32, 8));
  EXPECT_EQ(outcome.orders, 1);
  EXPECT_NEAR(4 * 26 / outcome.seconds, 3.25, 1e-6);
}

TEST(BatchPolicyTest, ThePermanentStragglerIsFoundUnderNoise) {
  const Outcome outcome = Train(Seats(4, 26), 2000, [](int rank, int64_t clock,
                                                       int32_t records) {
    return records * (rank == 3 ? 4.0 : 1.0) * Noise(rank, clock, 0.15);
  });
  EXPECT_GE(outcome.batches[3], 7);
  EXPECT_LE(outcome.batches[3], 9);
  EXPECT_LE(outcome.orders, 3);
}

TEST(BatchPolicyTest, WhatIsSlowNowAndThenMovesNothing) {
  const auto orders = [](const Cost& cost) {
    return Train(Seats(4, 32), 4000, cost).orders;
  };
  EXPECT_EQ(orders([](int rank, int64_t clock, int32_t records) {
              return records * (clock % 4 == rank ? 4.0 : 1.0);
            }),
            0);
  EXPECT_EQ(orders([](int rank, int64_t clock, int32_t records) {
              return records * Noise(rank, clock, 0.2);
            }),
            0);
  EXPECT_EQ(orders([](int rank, int64_t, int32_t records) {
              return records * (rank == 1 ? 1.05 : 1.0);  // not worth it
            }),
            0);
}

TEST(BatchPolicyTest, WildWeatherGetsFewOrders) {
  const Outcome outcome = Train(Seats(4, 32), 20000, [](int rank, int64_t clock,
                                                        int32_t records) {
    return records * (clock / 16 % 4 == rank ? 4.0 : 1.0);
  });
  EXPECT_LE(outcome.orders, 32);
}

TEST(BatchPolicyTest, CostsPerClockAreSharedToo) {
  const Outcome outcome = Train(Seats(2, 40), 3000, [](int rank, int64_t,
                                                       int32_t records) {
    return 20 + records * (rank == 0 ? 3.0 : 1.0);
  });
  // Equal times: 20 + 3 a = 20 + b, a + b = 80.
  EXPECT_NEAR(outcome.batches[0], 20, 2);
  EXPECT_LE(outcome.orders, 3);
}

TEST(BatchPolicyTest, FollowsAChangeOfSpeed) {
  const Outcome outcome = Train(Seats(4, 26), 2000, [](int rank, int64_t clock,
                                                       int32_t records) {
    return records * (rank == (clock < 1000 ? 3 : 0) ? 4.0 : 1.0);
  });
  EXPECT_THAT(outcome.batches, ElementsAre(8, 32, 32, 32));
}

TEST(BatchPolicyTest, NewcomersAreTakenForTheMean) {
  BatchPolicy policy;
  std::vector<BatchSeat> seats = Seats(2, 30);
  seats[0].now = 15;
  seats[1].now = 45;
  policy.Restore(seats);
  EXPECT_THAT(policy.Deal(seats), ElementsAre(15, 45));
  std::vector<BatchSeat> more = Seats(3, 30);
  EXPECT_THAT(policy.Deal(more), ElementsAre(15, 45, 30));
  policy.Forget(0);  // its rank is another's now
  EXPECT_THAT(policy.Deal(seats), ElementsAre(30, 30));
  EXPECT_THAT(BatchPolicy().Deal(more), Each(30));
}

TEST(BatchPolicyTest, JudgesOnlyWhatIsInForceEverywhere) {
  BatchPolicy policy;
  std::vector<BatchSeat> seats = Seats(2, 8);
  for (int i = 0; i < 10 * BatchPolicy::kWindow; ++i) {
    policy.Observe(0, 8, 1);
    policy.Observe(1, i % 2 == 0 ? 8 : 4, 9);  // never the same for long
    EXPECT_FALSE(policy.Propose(seats));
  }
  for (const double bad : {0.0, -1.0, double(NAN), double(INFINITY)}) {
    policy.Observe(0, bad, 1);
    policy.Observe(0, 8, bad);
  }
  EXPECT_FALSE(BatchPolicy().Propose(Seats(1, 8)));
}

}  // namespace
}  // namespace cssp
