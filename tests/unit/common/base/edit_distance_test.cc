#include "common/base/edit_distance.h"

#include "gtest/gtest.h"

namespace cssp {
namespace {

TEST(EditDistanceTest, CountsEdits) {
  EXPECT_EQ(EditDistance("", ""), 0);
  EXPECT_EQ(EditDistance("solver", "solver"), 0);
  EXPECT_EQ(EditDistance("", "gpu"), 3);
  EXPECT_EQ(EditDistance("gpu", ""), 3);
  EXPECT_EQ(EditDistance("sovler", "solver"), 2);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3);
  EXPECT_EQ(EditDistance("sitting", "kitten"), 3);
}

}  // namespace
}  // namespace cssp
