#include "common/transport/linger.h"

#include "gtest/gtest.h"

namespace cssp {
namespace {

// Of 1,000 sleeps, how many are preceded by a moment's watch.
int Watched(Linger& linger, bool pays) {
  int watched = 0;
  for (int i = 0; i < 1000; ++i) {
    if (!linger.Worth()) continue;
    ++watched;
    linger.Note(pays);
  }
  return watched;
}

TEST(LingerTest, GoesByWhetherItHasPaid) {
  Linger linger;
  EXPECT_LT(Watched(linger, false), 80);  // tried now and then
  EXPECT_GT(Watched(linger, true), 950);  // noticed soon
  EXPECT_LT(Watched(linger, false), 120);  // and given up soon
}

TEST(LingerTest, ASingleMissDoesNotEndIt) {
  Linger linger;
  Watched(linger, true);
  linger.Note(false);
  EXPECT_TRUE(linger.Worth());
}

}  // namespace
}  // namespace cssp
