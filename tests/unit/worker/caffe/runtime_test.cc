#include "worker/caffe/runtime.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace cssp {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Gpus, AreNumbersOrLists) {
  EXPECT_THAT(*NamedGpus("3"), ElementsAre(3));
  EXPECT_THAT(*NamedGpus("0,2"), ElementsAre(0, 2));
  for (const char* bad : {"-1", "0,", "first", "0 1"})
    EXPECT_THAT(std::string(NamedGpus(bad).status().message()),
                HasSubstr("--gpu must be a device number"))
        << bad;
}

TEST(Gpus, OneProcessTakesOne) {
  const absl::Status alone = MakeCompute({.gpu = "4711,4712"}).status();
  EXPECT_EQ(alone.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(alone.message()),
              HasSubstr("start one process per GPU, mpirun -n 3"));
  // Two on the host: each its own, which this machine does not have.
  for (int rank : {0, 1, 2})
    EXPECT_THAT(
        std::string(
            MakeCompute(
                {.gpu = "4711,4712", .host_rank = rank, .host_ranks = 3})
                .status()
                .message()),
        HasSubstr(rank == 1 ? "GPU 4712 was asked" : "GPU 4711 was asked"));
}

TEST(Gpus, AnExplicitOneMustBeThereAWantedOneNeedNot) {
  EXPECT_FALSE(MakeCompute({.gpu = "4711"}).ok());
  const auto compute =
      MakeCompute({.gpu_wanted = true, .gpu_ordinal = 4711, .quiet = true});
  ASSERT_TRUE(compute.ok()) << compute.status();
  EXPECT_EQ((*compute)->device->type(), DeviceType::kCpu);
}

}  // namespace
}  // namespace cssp
