#include "common/launch/launch.h"

#include <sched.h>

#include <cstdio>
#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace cssp {
namespace {

TEST(LaunchTest, AloneWithoutALauncher) {
  auto launch = Launch::Create({});
  ASSERT_TRUE(launch.ok()) << launch.status();
  EXPECT_EQ((*launch)->rank(), 0);
  EXPECT_EQ((*launch)->size(), 1);
  EXPECT_TRUE((*launch)->alone());
  EXPECT_EQ((*launch)->local_size(), 1);
  EXPECT_EQ((*launch)->local_rank(), 0);
  ASSERT_TRUE((*launch)->Put("key", "value").ok());
  EXPECT_EQ((*launch)->Put("key", "other").code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ((*launch)->Get(0, "key", absl::Seconds(1)).value(), "value");
  EXPECT_EQ(
      (*launch)->Get(0, "absent", absl::Milliseconds(5)).status().code(),
      absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ((*launch)->Get(1, "key", absl::Seconds(1)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(LaunchTest, RefusesSilentSingletons) {
  LaunchEnvironment environment;
  environment.slurm_tasks = 4;
  auto launch = Launch::Create(environment);
  EXPECT_EQ(launch.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(launch.status().message()),
              testing::HasSubstr("srun --mpi=pmix"));
  environment.slurm_tasks = 1;
  EXPECT_TRUE(Launch::Create(environment).ok());
}

TEST(LaunchTest, WidensAffinity) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  if (CPU_COUNT(&before) < 2) GTEST_SKIP() << "one core";
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(AvailableCores(), 1);
  EXPECT_THAT(WidenAffinity(),
              testing::HasSubstr("cpu affinity widened from 1 to "));
  EXPECT_GE(AvailableCores(), CPU_COUNT(&before));
  EXPECT_EQ(WidenAffinity(), "");
}

std::string Output(const std::string& command, int* status) {
  std::string out;
  FILE* pipe = popen(command.c_str(), "r");
  char line[512];
  while (std::fgets(line, sizeof(line), pipe)) out += line;
  *status = pclose(pipe);
  return out;
}

// The real launcher: every rank gets what every other one put, rank 0 late.
TEST(LaunchTest, ExchangesUnderMpirun) {
  int status = 0;
  const std::string out = Output(
      "timeout 60 mpirun --allow-run-as-root --oversubscribe --bind-to none "
      "-n 3 " LAUNCH_PROBE " 2>&1",
      &status);
  EXPECT_EQ(status, 0) << out;
  for (int rank = 0; rank < 3; ++rank) {
    EXPECT_THAT(out, testing::HasSubstr(
                         "rank " + std::to_string(rank) +
                         " of 3 local 3 got value-0 value-1 value-2"));
  }
}

}  // namespace
}  // namespace cssp
