#include "server/coordinator/job_spec.h"

#include "fake_cluster.h"

namespace cssp {
namespace {

using testing::HasSubstr;

std::string Refusal(const control::JobSpec& spec) {
  return std::string(ValidateJobSpec(spec).message());
}

TEST(ValidateJobSpec, TakesAGoodOne) {
  EXPECT_TRUE(ValidateJobSpec(Spec(2)).ok());
  EXPECT_TRUE(ValidateJobSpec(Spec(2, "straggler: 'rotating:4'")).ok());
  EXPECT_TRUE(ValidateJobSpec(Spec(2, "straggler: '1:2.5'")).ok());
}

TEST(ValidateJobSpec, NamesWhatIsWrong) {
  EXPECT_THAT(Refusal(Spec(0)), HasSubstr("workers"));
  EXPECT_THAT(Refusal(Spec(1, "staleness: -1")), HasSubstr("staleness"));
  EXPECT_THAT(Refusal(Spec(1, "fresh_wait: -0.5")), HasSubstr("fresh_wait"));
  EXPECT_THAT(Refusal(Spec(1, "fresh_wait: nan")), HasSubstr("fresh_wait"));
  EXPECT_THAT(Refusal(Spec(1, "chunk_bytes: 100")), HasSubstr("chunk_bytes"));
  for (const char* straggler :
       {"1:2", "x:2", "0:0.5", "0:inf", "rotating", "0:2:3", "-1:2"})
    EXPECT_THAT(Refusal(Spec(1, absl::StrCat("straggler: '", straggler, "'"))),
                HasSubstr("straggler"));
  EXPECT_THAT(Refusal(Spec(1, "weights_files: 'a' snapshot_file: 'b'")),
              HasSubstr("one of them"));
}

TEST(ValidateJobSpec, BalancesWhatHasEqualBatches) {
  EXPECT_TRUE(ValidateJobSpec(Spec(2, "balance: true staleness: 2")).ok());
  EXPECT_THAT(Refusal(Spec(2, "balance: true ssp_update: PER_PUSH")),
              HasSubstr("balance"));
  EXPECT_THAT(Refusal(Spec(3, "balance: true backup: 1")),
              HasSubstr("balance"));
}

TEST(ValidateJobSpec, TriesTheSolver) {
  control::JobSpec spec = Spec(1);
  spec.mutable_solver()->set_type("SDG");
  EXPECT_TRUE(absl::IsInvalidArgument(ValidateJobSpec(spec)));
  EXPECT_THAT(Refusal(spec), HasSubstr("SDG"));
  EXPECT_THAT(Refusal(spec), HasSubstr("Nesterov"));
  spec = Spec(1);
  spec.mutable_solver()->set_lr_policy("stepp");
  EXPECT_THAT(Refusal(spec), HasSubstr("stepp"));
  spec = Spec(1);
  spec.mutable_solver()->set_max_iter(0);
  EXPECT_THAT(Refusal(spec), HasSubstr("max_iter"));
  spec = Spec(1);
  spec.mutable_solver()->clear_net_param();
  EXPECT_THAT(Refusal(spec), HasSubstr("no train net"));
  spec.mutable_solver()->set_net("x.prototxt");
  EXPECT_THAT(Refusal(spec), HasSubstr("not inlined"));
}

TEST(ValidateJobSpec, KnowsTheModes) {
  EXPECT_TRUE(ValidateJobSpec(Spec(2, "ssp_update: PER_PUSH")).ok());
  EXPECT_TRUE(
      ValidateJobSpec(Spec(2, "ssp_update: PER_PUSH staleness: -1")).ok());
  EXPECT_TRUE(
      ValidateJobSpec(Spec(2, "lazy_pull: true lookahead: true")).ok());
  EXPECT_THAT(Refusal(Spec(2, "staleness: -1")), HasSubstr("PER_PUSH"));
  EXPECT_THAT(Refusal(Spec(2, "ssp_update: PER_PUSH staleness: -2")),
              HasSubstr("staleness"));
  EXPECT_THAT(Refusal(Spec(2, "staleness: 3 max_ahead: 2")),
              HasSubstr("max_ahead"));
  control::JobSpec adam = Spec(2, "ssp_update: PER_PUSH");
  adam.mutable_solver()->set_type("Adam");
  EXPECT_THAT(Refusal(adam), HasSubstr("Adam"));
  adam.set_ssp_update(control::PER_CLOCK);
  adam.set_lookahead(true);
  EXPECT_THAT(Refusal(adam), HasSubstr("lookahead"));
}

TEST(NormalisedSpec, RecordsWhatWasLeftOpen) {
  control::JobSpec spec = NormalisedSpec(Spec(2, "staleness: 2"));
  EXPECT_EQ(spec.max_ahead(), 4);
  EXPECT_EQ(spec.staleness_lr(), control::STALENESS_LR_INV);
  spec = NormalisedSpec(Spec(2, "staleness: -1 ssp_update: PER_PUSH"));
  EXPECT_EQ(spec.max_ahead(), 32);
  EXPECT_EQ(spec.staleness_lr(), control::STALENESS_LR_NONE);
  EXPECT_EQ(NormalisedSpec(Spec(2)).staleness_lr(),
            control::STALENESS_LR_NONE);
}

TEST(ValidateJobSpec, TriesThePolicy) {
  auto spec = Spec(1);
  spec.mutable_solver()->set_lr_policy("plateau");
  spec.mutable_solver()->set_gamma(0.1);
  EXPECT_THAT(Refusal(spec), HasSubstr("plateau_winsize"));
  spec.mutable_solver()->add_plateau_winsize(10);
  EXPECT_TRUE(ValidateJobSpec(spec).ok());
}

TEST(MakeJobId, IsAlwaysAnId) {
  EXPECT_EQ(MakeJobId("CIFAR10_quick", 7), "cifar10-quick-7");
  EXPECT_EQ(MakeJobId("../../etc/passwd", 1), "etc-passwd-1");
  EXPECT_EQ(MakeJobId("", 2), "job-2");
  EXPECT_EQ(MakeJobId("\xff\n", 2), "job-2");
  EXPECT_LE(MakeJobId(std::string(500, 'x'), 4294967295u).size(), 63u);
}

TEST(Tokens, AreLongAndDiffer) {
  EXPECT_EQ(MakeToken().size(), 64u);
  EXPECT_NE(MakeToken(), MakeToken());
  EXPECT_TRUE(TokensEqual("abc", "abc"));
  EXPECT_FALSE(TokensEqual("abc", "abd"));
  EXPECT_FALSE(TokensEqual("abc", "abcd"));
  EXPECT_GT(DrawSeed(), 0);
}

TEST(DefaultChunkBytes, DealsEvenlyInChunksOfHalfAMebibyteAtMost) {
  constexpr int64_t kKib = 1 << 10, kMib = 1 << 20;
  EXPECT_EQ(DefaultChunkBytes(1000, 2), 64 * kKib);
  EXPECT_EQ(DefaultChunkBytes(1 << 30, 2), 512 * kKib);
  EXPECT_EQ(DefaultChunkBytes(kMib, 1), 512 * kKib);
  EXPECT_EQ(DefaultChunkBytes(kMib, 2), 256 * kKib);
  // Not 512, 512, 256.
  EXPECT_EQ(DefaultChunkBytes(5 * kMib, 4), 432 * kKib);
  for (int64_t bytes = 1000; bytes < 20 * kMib; bytes += 99991)
    for (int servers : {1, 2, 3, 7}) {
      const int64_t chunk = DefaultChunkBytes(bytes, servers);
      EXPECT_EQ(chunk % (ps::SlabLayout::kBlock * 4), 0);
      EXPECT_LE(chunk, 512 * kKib);
      EXPECT_GE(chunk, 64 * kKib);
    }
}

}  // namespace
}  // namespace cssp
