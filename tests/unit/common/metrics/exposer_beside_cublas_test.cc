// A program with as much static thread-local data as one that is linked with
// cuBLAS: the exposer's threads start all the same.
#include <gtest/gtest.h>

#include "common/metrics/exposer.h"

namespace cssp {
namespace {

// volatile: it must be there, not be used.
thread_local volatile char ballast[128 << 10];

TEST(Exposer, StartsBesideMuchThreadLocalData) {
  ballast[sizeof(ballast) - 1] = 1;
  MetricsRegistry registry;
  const auto exposer = MetricsExposer::Create("127.0.0.1", 0, registry);
  ASSERT_TRUE(exposer.ok()) << exposer.status();
  EXPECT_GT((*exposer)->port(), 0);
}

}  // namespace
}  // namespace cssp
