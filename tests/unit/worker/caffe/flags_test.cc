#include "worker/caffe/flags.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace cssp {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(CaffeFlagsTest, TakesBvlcsSpellings) {
  auto flags = ParseCaffeFlags({"train", "-solver", "s.prototxt",
                                "--snapshot=s.solverstate",
                                "-sigint_effect=none"});
  ASSERT_TRUE(flags.ok()) << flags.status();
  EXPECT_EQ(flags->action, "train");
  EXPECT_EQ(flags->solver, "s.prototxt");
  EXPECT_EQ(flags->snapshot, "s.solverstate");
  EXPECT_EQ(flags->sigint_effect, "none");
  EXPECT_EQ(flags->sighup_effect, "snapshot");
  EXPECT_EQ(flags->iterations, 50);
  EXPECT_TRUE(flags->job_options.empty());
  // Flags may stand before the action, as gflags has it.
  EXPECT_EQ(ParseCaffeFlags({"--iterations=3", "test"})->iterations, 3);
}

TEST(CaffeFlagsTest, KnowsWhichJobOptionsWereGiven) {
  auto flags = ParseCaffeFlags(
      {"train", "--staleness=2", "--global_batch", "--fresh_wait", "0"});
  ASSERT_TRUE(flags.ok()) << flags.status();
  EXPECT_EQ(flags->staleness, 2);
  EXPECT_EQ(flags->fresh_wait, 0);
  EXPECT_THAT(flags->job_options,
              ElementsAre("staleness", "fresh_wait", "global_batch"));
}

TEST(CaffeFlagsTest, TakesNamesInEitherCase) {
  auto flags = ParseCaffeFlags({"train", "--ssp_update=per_push", "--wire=bf16"});
  ASSERT_TRUE(flags.ok()) << flags.status();
  EXPECT_EQ(flags->ssp_update, "PER_PUSH");
}

TEST(CaffeFlagsTest, NamesMistakes) {
  EXPECT_THAT(std::string(ParseCaffeFlags({"trian"}).status().message()),
              HasSubstr("unknown action 'trian'"));
  EXPECT_THAT(
      std::string(ParseCaffeFlags({"train", "--sovler=x"}).status().message()),
      HasSubstr("solver"));
  for (const std::string bad :
       {"--iterations=0", "--threads=-1", "--ssp_update=NEVER", "extra"})
    EXPECT_EQ(ParseCaffeFlags({"train", bad}).status().code(),
              absl::StatusCode::kInvalidArgument)
        << bad;
}

TEST(CaffeFlagsTest, TheGpusPart) {
  auto flags = ParseCaffeFlags({"train", "--gpu=1"});
  ASSERT_TRUE(flags.ok()) << flags.status();
  EXPECT_FALSE(CudaOptionsOf(*flags).deterministic);
  EXPECT_EQ(CudaOptionsOf(*flags).math, MathMode::kFp32);
  flags = ParseCaffeFlags(
      {"train", "--math=tf32", "--deterministic", "--sync_layers"});
  ASSERT_TRUE(flags.ok()) << flags.status();
  EXPECT_TRUE(CudaOptionsOf(*flags).deterministic);
  EXPECT_EQ(CudaOptionsOf(*flags).math, MathMode::kTf32);
  EXPECT_TRUE(flags->sync_layers);
  EXPECT_EQ(ParseCaffeFlags({"train", "--math=half"}).status().message(),
            "--math: the math mode must be fp32, tf32 or bf16, not 'half'");
}

TEST(CaffeFlagsTest, HowGradientsTravel) {
  const auto flags = ParseCaffeFlags({"train", "--wire=BF16"});
  ASSERT_TRUE(flags.ok()) << flags.status();
  EXPECT_EQ(flags->wire, "BF16");
  EXPECT_EQ(ParseCaffeFlags({"train", "--wire=fp8"}).status().message(),
            "--wire: gradients travel as FP32 or BF16, not 'fp8'");
}

TEST(CaffeFlagsTest, AloneItHelps) {
  auto flags = ParseCaffeFlags({});
  ASSERT_TRUE(flags.ok());
  EXPECT_TRUE(flags->help);
  EXPECT_THAT(flags->help_text, HasSubstr("device_query"));
}

}  // namespace
}  // namespace cssp
