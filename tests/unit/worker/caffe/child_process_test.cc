#include "worker/caffe/child_process.h"

#include <signal.h>
#include <unistd.h>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "worker/caffe/runtime.h"

namespace cssp {
namespace {

TEST(ChildProcessTest, GivesTheExitCode) {
  auto child = ChildProcess::Start("/bin/sh", {"-c", "exit $CODE"}, {"CODE=7"});
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_EQ((*child)->Wait(absl::Seconds(10)), 7);
  EXPECT_EQ((*child)->ExitCode(), 7) << "asked again";
}

TEST(ChildProcessTest, NamesAMissingProgram) {
  EXPECT_EQ(ChildProcess::Start("/nowhere/x", {}, {}).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(ChildProcessTest, ItsSignalsAreNotOurs) {
  sigset_t set, old;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &set, &old);
  auto child = ChildProcess::Start("/bin/sleep", {"60"}, {});
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  ASSERT_TRUE(child.ok());
  EXPECT_EQ((*child)->Wait(absl::Milliseconds(50)), std::nullopt);
  EXPECT_NE(getpgid((*child)->pid()), getpgid(0));
  // SIGTERM suffices although it was blocked here.
  const absl::Time begin = absl::Now();
  (*child)->Terminate(absl::Seconds(20));
  EXPECT_LT(absl::Now() - begin, absl::Seconds(15));
  EXPECT_EQ((*child)->ExitCode(), 128 + SIGTERM);
}

TEST(ChildProcessTest, KillsWhatDoesNotListen) {
  auto child = ChildProcess::Start(
      "/bin/sh", {"-c", "trap '' TERM; while :; do sleep 1; done"}, {});
  ASSERT_TRUE(child.ok());
  absl::SleepFor(absl::Milliseconds(200));
  (*child)->Terminate(absl::Milliseconds(100));
  EXPECT_EQ((*child)->ExitCode(), 128 + SIGKILL);
}

TEST(RuntimeTest, ThreadsAreSharedAmongRanks) {
  EXPECT_EQ(ComputeThreads(3, 100), 3);
  EXPECT_EQ(ComputeThreads(0, 1 << 20), 1);
  EXPECT_EQ(ComputeThreads(0, 1), AvailableCores());
}

TEST(RuntimeTest, AnExplicitGpuMustBeThere) {
  EXPECT_FALSE(MakeCompute({.gpu = "zero"}).ok());
  // A solver's wish is only that.
  auto compute = MakeCompute({.gpu_wanted = true, .threads = 1, .quiet = true});
  ASSERT_TRUE(compute.ok()) << compute.status();
  EXPECT_FALSE((*compute)->layers.Types().empty());
}

}  // namespace
}  // namespace cssp
