// Durability LOG: a shard that is killed anywhere and opened again from its last
// cut and its log has the bits of one that was not.
#include <algorithm>
#include <random>

#include "common/ps/server_wire.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "tests/testing/shard_rig.h"
#include "tests/unit/server/service/logged_shard.h"

namespace cssp {
namespace {

using ps::MessageType;
using ps::Reason;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr int64_t kChunkBytes = ps::SlabLayout::kMinChunkBytes;

control::OpenShardRequest Request(const std::string& spec, int servers = 1,
                                  int self = 0) {
  control::OpenShardRequest request;
  request.set_job_id("job-1");
  request.set_job_number(1);
  request.set_job_epoch(1);
  request.set_token("token");
  request.set_server_index(self);
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(
      spec, request.mutable_spec()));
  request.mutable_spec()->set_durability(control::LOG);
  *request.mutable_spec()->mutable_solver() = PlainSgd(0.01f);
  request.mutable_spec()->mutable_solver()->set_momentum(0.9f);
  request.mutable_spec()->mutable_solver()->set_weight_decay(0.003f);
  const std::vector<ps::BlobSpec> blobs = {TestBlob("w", 5000)};
  for (const ps::BlobSpec& blob : blobs)
    *request.add_blobs() = ps::ToProto(blob);
  const auto layout = *ps::SlabLayout::Create(blobs, kChunkBytes);
  control::ShardMap& map = *request.mutable_shard_map();
  map.set_map_epoch(1);
  map.set_chunk_bytes(kChunkBytes);
  for (int i = 0; i < servers; ++i) map.add_servers()->set_index(i);
  for (size_t i = 0; i < layout.chunks().size(); ++i) map.add_chunk_server(self);
  return request;
}

// Workers that push and tick in an order of `seed`, each as soon as it may.
class Workers {
 public:
  Workers(int count, uint32_t seed) : random_(seed), each_(count) {}

  // One message of one worker, to every shard.  False: nobody can go on.
  bool Step(const std::vector<LoggedShard*>& shards) {
    std::vector<int> able;
    for (int rank = 0; rank < static_cast<int>(each_.size()); ++rank) {
      if (!each_[rank].messages.empty() || MayBegin(*shards[0], rank))
        able.push_back(rank);
    }
    if (able.empty()) return false;
    const int rank = able[random_() % able.size()];
    Worker& worker = each_[rank];
    const int chunks = static_cast<int>(shards[0]->shard().chunks().size());
    if (worker.messages.empty()) {
      for (int i = 0; i <= chunks; ++i) worker.messages.push_back(i);
      std::shuffle(worker.messages.begin(), worker.messages.end(), random_);
      worker.based_on = std::min(worker.clock, shards[0]->shard().min_version());
    }
    const int message = worker.messages.back();
    worker.messages.pop_back();
    const auto value = static_cast<float>(random_() % 2000) / 1000 - 1;
    for (LoggedShard* shard : shards)
      Send(*shard, rank, message, chunks, value);
    if (worker.messages.empty()) ++worker.clock;
    return true;
  }
  int64_t clock(int rank) const { return each_[rank].clock; }

 private:
  struct Worker {
    int64_t clock = 0;
    int64_t based_on = 0;
    std::vector<int> messages;  // of this clock, to come: chunks, then the tick
  };

  bool MayBegin(LoggedShard& shard, int rank) {
    const Shard& of = shard.shard();
    const int64_t clock = each_[rank].clock;
    return std::all_of(
        of.chunks().begin(), of.chunks().end(), [&](const ChunkState& chunk) {
          return of.FreshnessFor(chunk, rank)
              .FitFor(clock, of.options().staleness);
        });
  }
  void Send(LoggedShard& shard, int rank, int message, int chunks,
            float value) {
    const Worker& worker = each_[rank];
    if (message == chunks) return shard.Tick(rank, worker.clock, chunks);
    ps::MessageHeader header =
        shard.Header(MessageType::kPush, rank, message, worker.clock);
    header.based_on = worker.based_on;
    header.samples = static_cast<uint32_t>(rank) + 1;
    EXPECT_EQ(shard.Push(header, value), Reason::kNone);
  }

  std::mt19937 random_;
  std::vector<Worker> each_;
};

void KilledAnywhereHasTheSameBits(const std::string& spec, int workers) {
  for (uint32_t seed = 0; seed < 4; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    LoggedShard whole(Request(spec)), killed(Request(spec));
    for (LoggedShard* each : {&whole, &killed}) each->InitAll(0.5f);
    Workers senders(workers, seed);
    std::mt19937 random(seed + 100);
    for (int step = 0; step < 150; ++step) {
      const bool stepped = senders.Step({&whole, &killed});
      const bool kill = random() % 12 == 0;
      if (!stepped || kill || random() % 4 == 0)
        for (LoggedShard* each : {&whole, &killed}) each->Settle();
      // A manifest follows its cut some time later.
      if (random() % 5 == 0)
        for (LoggedShard* each : {&whole, &killed}) each->CommitCut();
      if (!kill) continue;
      const absl::Status opened = killed.KillAndReopen();
      ASSERT_TRUE(opened.ok()) << opened;
      ASSERT_EQ(killed.Arrays(), whole.Arrays()) << "step " << step;
      // PER_CLOCK: a cut may come before its last tick.
      for (int rank = 0; rank < workers; ++rank)
        ASSERT_GE(killed.shard().done(rank), whole.shard().done(rank));
    }
    for (LoggedShard* each : {&whole, &killed}) each->Settle();
    EXPECT_EQ(killed.Arrays(), whole.Arrays());
    EXPECT_GE(whole.shard().min_version(), 6);
  }
}

TEST(JobShardLogTest, PerPush) {
  KilledAnywhereHasTheSameBits(
      "workers: 3 staleness: 2 ssp_update: PER_PUSH checkpoint_clocks: 4", 3);
}

TEST(JobShardLogTest, PerPushAsync) {
  KilledAnywhereHasTheSameBits(
      "workers: 3 staleness: -1 max_ahead: 4 ssp_update: PER_PUSH "
      "lookahead: true checkpoint_clocks: 3", 3);
}

TEST(JobShardLogTest, PerPushWithoutCheckpoints) {
  KilledAnywhereHasTheSameBits(
      "workers: 2 staleness: 1 ssp_update: PER_PUSH", 2);
}

TEST(JobShardLogTest, PerClock) {
  KilledAnywhereHasTheSameBits(
      "workers: 3 staleness: 2 checkpoint_clocks: 4", 3);
}

// A push is acknowledged once it is durable; what was not is simply sent again.
TEST(JobShardLogTest, APushCountsOnce) {
  LoggedShard shard(
      Request("workers: 1 staleness: 1 ssp_update: PER_PUSH"));
  shard.InitAll(1);
  shard.replies.clear();
  ASSERT_EQ(shard.Push(shard.Header(MessageType::kPush, 0, 0, 0), 1),
            Reason::kNone);
  EXPECT_THAT(shard.replies, IsEmpty());
  shard.Settle();
  ASSERT_THAT(shard.replies, SizeIs(1));
  EXPECT_EQ(shard.replies[0].header.reason, Reason::kNone);
  ASSERT_TRUE(shard.KillAndReopen().ok());
  for (const uint32_t chunk : {0u, 1u})
    shard.Push(shard.Header(MessageType::kPush, 0, chunk, 0), 1);
  shard.Tick(0, 0, 2);
  shard.Settle();
  EXPECT_EQ(shard.replies[1].header.reason, Reason::kDuplicate);
  EXPECT_EQ(shard.replies[2].header.reason, Reason::kNone);
  EXPECT_EQ(shard.shard().min_version(), 1);
}

// Whoever repeats its clock gets the values that it had for it.
TEST(JobShardLogTest, PerPushGivesTheValuesBefore) {
  LoggedShard shard(
      Request("workers: 1 staleness: 0 ssp_update: PER_PUSH"));
  shard.InitAll(1);
  for (int64_t clock : {0, 1}) {
    for (const uint32_t chunk : {0u, 1u})
      shard.Push(shard.Header(MessageType::kPush, 0, chunk, clock), 1);
    shard.Tick(0, clock, 2);
    shard.Settle();
  }
  const ChunkState& before = shard.shard().chunks()[0];
  const std::vector<float> previous(before.previous.floats().begin(),
                                    before.previous.floats().end());
  ASSERT_TRUE(shard.KillAndReopen().ok());
  const ChunkState& chunk = shard.shard().chunks()[0];
  ASSERT_EQ(chunk.version, 2);
  EXPECT_EQ(std::vector<float>(chunk.previous.floats().begin(),
                               chunk.previous.floats().end()),
            previous);
}

// ---- Backup workers ---------------------------------------------------------

constexpr char kBackup[] = "workers: 3 staleness: 1 backup: 1";

// Both chunks and the tick of a clock.
void Clock(LoggedShard& shard, int rank, int64_t clock) {
  for (const uint32_t chunk : {0u, 1u}) {
    ps::MessageHeader header =
        shard.Header(MessageType::kPush, rank, chunk, clock);
    header.based_on = std::min(clock, shard.shard().min_version());
    ASSERT_EQ(shard.Push(header, static_cast<float>(rank)), Reason::kNone);
  }
  shard.Tick(rank, clock, 2);
}

TEST(JobShardLogTest, WhoMadeUpAClockIsToldOnceItIsDurable) {
  LoggedShard shard(Request(kBackup, 2, 0));
  shard.InitAll(1);
  Clock(shard, 2, 0);
  Clock(shard, 0, 0);
  shard.Settle();  // the decision follows, and may be durable by now
  EXPECT_EQ(shard.told.empty(), shard.shard().min_version() == 0);
  shard.Settle();
  EXPECT_THAT(shard.told,
              ElementsAre(LoggedShard::Told{1, 0, {0, 2}}));
  EXPECT_EQ(shard.shard().min_version(), 1);
}

// One that hears more after its death does not decide otherwise.
TEST(JobShardLogTest, TheSameContributorsAfterAReplay) {
  LoggedShard shard(Request(kBackup, 2, 0));
  shard.InitAll(1);
  // All of rank 1's clock 1 is in before its clock 0 is.
  shard.Push(shard.Header(MessageType::kPush, 1, 0, 0), 1);
  Clock(shard, 1, 1);
  for (int rank : {0, 2}) Clock(shard, rank, 0);
  shard.Settle();
  shard.Settle();
  for (int rank : {0, 2}) Clock(shard, rank, 1);
  shard.Settle();
  shard.Settle();
  ASSERT_EQ(shard.shard().min_version(), 2);
  const auto told = shard.told;
  const auto arrays = shard.Arrays();
  ASSERT_TRUE(shard.KillAndReopen().ok());
  EXPECT_EQ(shard.told, told) << "a replay tells nobody";
  EXPECT_EQ(shard.Arrays(), arrays);
  shard.told.clear();
  shard.shard().OnServerConnected(1);
  EXPECT_EQ(shard.told, told);
  // A late part stays late.
  shard.replies.clear();
  shard.Push(shard.Header(MessageType::kPush, 1, 1, 0), 1);
  ASSERT_THAT(shard.replies, SizeIs(1));
  EXPECT_EQ(shard.replies[0].header.reason, Reason::kLate);
}

// From a cut on ranks seem to have done the clocks before it earlier than they
// had: a clock must not be decided anew, with those only who were first then.
TEST(JobShardLogTest, TheSameContributorsFromACut) {
  LoggedShard shard(Request(
      "workers: 4 staleness: 1 backup: 1 checkpoint_clocks: 1", 2, 0));
  shard.InitAll(1);
  for (int rank : {0, 1}) {  // the second chunk's part is late
    shard.Push(shard.Header(MessageType::kPush, rank, 0, 0), 1);
    shard.Tick(rank, 0, 2);
  }
  for (int rank : {2, 3}) Clock(shard, rank, 0);
  for (int rank : {1, 2, 3, 0}) Clock(shard, rank, 1);
  shard.Settle();
  ASSERT_THAT(shard.cuts, IsEmpty());
  shard.Push(shard.Header(MessageType::kPush, 1, 1, 0), 1);
  for (int i = 0; i < 3; ++i) shard.Settle();
  ASSERT_THAT(shard.told,
              ElementsAre(LoggedShard::Told{1, 0, {1, 2, 3}},
                          LoggedShard::Told{1, 1, {0, 1, 2, 3}}));
  ASSERT_THAT(shard.cuts, ElementsAre(1, 2));
  const auto arrays = shard.Arrays();
  shard.CommitCut(1);
  ASSERT_TRUE(shard.KillAndReopen().ok());
  shard.Settle();
  EXPECT_EQ(shard.Arrays(), arrays);
}

// Ranks 1 and 2 complete clock 0, the server dies: that they are its
// contributors, and nobody else, is all that another server hears.
void ExpectFirstTwoDecidedOverADeath(LoggedShard& shard) {
  for (int rank : {1, 2}) Clock(shard, rank, 0);
  shard.Settle();
  ASSERT_TRUE(shard.KillAndReopen().ok());
  shard.Settle();
  shard.Settle();
  // If it did reach the log, the others hear of it when they are reached.
  shard.shard().OnServerConnected(1);
  ASSERT_FALSE(shard.told.empty());
  for (const LoggedShard::Told& told : shard.told)
    EXPECT_EQ(told, (LoggedShard::Told{1, 0, {1, 2}}));
}

TEST(JobShardLogTest, ADecisionThatMayNotHaveReachedTheLogHolds) {
  LoggedShard shard(Request(kBackup, 2, 0));
  shard.InitAll(1);
  ExpectFirstTwoDecidedOverADeath(shard);
  EXPECT_EQ(shard.shard().min_version(), 1);
}

bool Tell(LoggedShard& shard, const ps::MessageHeader& decided,
          const std::vector<int32_t>& ranks) {
  const std::string body = ps::EncodeContributors(ranks);
  return shard.job().FromServer(
      ShardInput::kContributors, decided,
      {reinterpret_cast<const uint8_t*>(body.data()), body.size()});
}

TEST(JobShardLogTest, AnotherServerKnowsTheContributorsFromItsLog) {
  LoggedShard shard(Request(kBackup, 2, 1));
  shard.InitAll(1);
  ps::MessageHeader decided =
      shard.Header(MessageType::kContributors, -2, 0, 0);
  ASSERT_TRUE(Tell(shard, decided, {0, 2}));
  Clock(shard, 0, 0);
  shard.Settle();
  ASSERT_TRUE(shard.KillAndReopen().ok());
  EXPECT_EQ(shard.shard().min_version(), 0);
  Clock(shard, 1, 0);  // late, and not waited for
  shard.Settle();
  EXPECT_EQ(shard.shard().min_version(), 0);
  Clock(shard, 2, 0);
  shard.Settle();
  EXPECT_EQ(shard.shard().min_version(), 1);
}

TEST(JobShardLogTest, NobodyElseDecidesInThisServersName) {
  LoggedShard shard(Request(kBackup, 2, 0));
  shard.InitAll(1);
  const ps::MessageHeader decided =
      shard.Header(MessageType::kContributors, -2, 0, 0);
  EXPECT_FALSE(Tell(shard, decided, {0, 2}));
  ExpectFirstTwoDecidedOverADeath(shard);
}

// ---- Members ----------------------------------------------------------------

control::ProposeOrderRequest Members(uint64_t number, int64_t clock,
                                     const std::vector<int>& ranks) {
  control::ProposeOrderRequest request;
  request.set_job_epoch(1);
  request.mutable_order()->set_number(number);
  request.mutable_order()->set_effective_clock(clock);
  for (int rank : ranks)
    request.mutable_order()->mutable_membership()->add_ranks(rank);
  return request;
}

// An order stands in the log before the cut from which the shard begins again.
TEST(JobShardLogTest, ANewcomerIsStillAwaited) {
  LoggedShard shard(Request(
      "workers: 1 max_workers: 2 staleness: 2 checkpoint_clocks: 3"));
  shard.InitAll(1);
  control::ProposeOrderRequest order = Members(1, 2, {0, 1});
  shard.job().ProposeOrder(order, [](auto answer) {
    EXPECT_TRUE(answer.ok() && answer->accepted());
  });
  order.set_commit(true);
  shard.job().ProposeOrder(order, [](auto answer) {
    EXPECT_TRUE(answer.ok() && answer->accepted());
  });
  shard.Settle();
  for (int64_t clock = 0; clock < 5; ++clock) {
    Clock(shard, 0, clock);
    shard.Settle();
  }
  Clock(shard, 1, 2);
  shard.Settle();
  ASSERT_THAT(shard.cuts, ElementsAre(3));
  shard.CommitCut();
  ASSERT_EQ(shard.shard().min_version(), 3);
  const auto arrays = shard.Arrays();
  ASSERT_TRUE(shard.KillAndReopen().ok());
  EXPECT_EQ(shard.shard().min_version(), 3) << "clock 3 waits for rank 1";
  EXPECT_EQ(shard.Arrays(), arrays);
  for (int64_t clock : {3, 4}) Clock(shard, 1, clock);
  shard.Settle();
  EXPECT_EQ(shard.shard().min_version(), 5);
  control::RejoinWorkerRequest rejoin;
  rejoin.set_rank(1);
  rejoin.set_incarnation(1);
  rejoin.set_clock(-1);
  shard.job().Rejoin(rejoin, [](auto answer) {
    ASSERT_TRUE(answer.ok());
    EXPECT_EQ(answer->next_clock(), 5);
  });
  shard.Settle();
}

}  // namespace
}  // namespace cssp
