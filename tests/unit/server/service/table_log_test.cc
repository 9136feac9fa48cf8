// Tables under durability LOG: killed anywhere and opened again from the last cut
// and the log, they are those of a server that was not killed.
#include <random>

#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "server/checkpoint/table_cut.h"
#include "tests/unit/server/service/logged_shard.h"

namespace cssp {
namespace {

using ps::MessageType;
using ps::Reason;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kWorkers = 3;
constexpr int kRows = 6;

control::OpenShardRequest Request(const std::string& more = "") {
  control::OpenShardRequest request;
  request.set_job_id("tables-1");
  request.set_job_number(1);
  request.set_job_epoch(1);
  request.set_token("token");
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(
      absl::StrCat(
          "workers: 3 staleness: 1 durability: LOG solver { base_lr: 1 "
          "lr_policy: 'fixed' } tables { name: 'a' rows: 6 width: 2 } "
          "tables { name: 'b' rows: 1000000 width: 3 sparse_rows: 5 } ",
          more),
      request.mutable_spec()));
  request.mutable_shard_map()->set_map_epoch(1);
  request.mutable_shard_map()->add_servers();
  return request;
}

// Row ids of table 1 are spread.
int64_t RowOf(int table, int64_t index) {
  return table == 0 ? index : index * 100001;
}

std::vector<float> RowsOf(JobTables& tables) {
  std::vector<float> all;
  for (const int table : {0, 1}) {
    for (int64_t i = 0; i < kRows - table; ++i) {
      const auto row = tables.table(table).row(RowOf(table, i));
      all.insert(all.end(), row.begin(), row.end());
    }
  }
  return all;
}

struct Inc {
  ps::MessageHeader header;
  std::string body;
};

Inc MakeInc(LoggedShard& shard, const ps::TableInc& inc) {
  Inc made{.header = shard.Header(MessageType::kTableInc, inc.rank, inc.table,
                                  inc.clock),
           .body = ps::EncodeInc(inc)};
  made.header.payload_bytes = static_cast<uint32_t>(made.body.size());
  return made;
}

void Send(LoggedShard& shard, const Inc& inc) {
  shard.job().TableInc(
      inc.header.rank + 1, inc.header,
      {reinterpret_cast<const uint8_t*>(inc.body.data()), inc.body.size()});
}

void Tick(LoggedShard& shard, int rank, int64_t clock,
          const std::vector<uint64_t>& incs, bool finished = false) {
  control::Tick tick;
  tick.set_rank(rank);
  tick.set_incarnation(1);
  tick.set_clock(clock);
  tick.set_finished(finished);
  for (const uint64_t count : incs) tick.add_table_incs(count);
  shard.job().Tick(tick, [](auto answer) { EXPECT_TRUE(answer.ok()); });
}

// Programs that increment and tick in an order of `seed`, each as far as the
// bound lets it; what is refused for a cut comes again.
class Programs {
 public:
  explicit Programs(uint32_t seed) : random_(seed), each_(kWorkers) {}

  void Step(LoggedShard& whole, LoggedShard& killed) {
    const int rank = static_cast<int>(random_() % kWorkers);
    Program& program = each_[rank];
    const int64_t ahead =
        program.clock - whole.job().tables().table(0).min_clock();
    if (ahead > 2) return;  // it would wait in a read
    if (random_() % 3 == 0) {
      for (LoggedShard* shard : {&whole, &killed})
        Tick(*shard, rank, program.clock, program.sent);
      ++program.clock;
      return;
    }
    ps::TableInc inc;
    inc.table = random_() % 2;
    inc.rank = rank;
    inc.clock = program.clock;
    inc.sequence = program.sent[inc.table] + 1;
    const int width = inc.table == 0 ? 2 : 3;
    inc.rows = {RowOf(static_cast<int>(inc.table), random_() % 5)};
    for (int i = 0; i < width; ++i)
      inc.deltas.push_back(static_cast<float>(random_() % 1000) / 777);
    const Inc message = MakeInc(whole, inc);
    const Reason reason = whole.job().tables().Check(message.header);
    ASSERT_EQ(killed.job().tables().Check(message.header), reason);
    if (reason != Reason::kNone) {
      EXPECT_EQ(reason, Reason::kTooFarAhead);
      ++held;
      return;
    }
    for (LoggedShard* shard : {&whole, &killed}) Send(*shard, message);
    ++program.sent[inc.table];
    last = message;
  }

  int held = 0;
  Inc last;

 private:
  struct Program {
    int64_t clock = 0;
    std::vector<uint64_t> sent = {0, 0};
  };
  std::mt19937 random_;
  std::vector<Program> each_;
};

TEST(TableLogTest, KilledAnywhereHasTheSameBits) {
  int held = 0;
  size_t cuts = 0;
  for (uint32_t seed = 0; seed < 6; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    const std::string more = seed % 3 == 0 ? "" : "checkpoint_clocks: 3";
    LoggedShard whole(Request(more)), killed(Request(more));
    Programs programs(seed);
    std::mt19937 random(seed + 100);
    for (int step = 0; step < 300; ++step) {
      ASSERT_NO_FATAL_FAILURE(programs.Step(whole, killed));
      const bool kill = random() % 20 == 0;
      if (kill || random() % 4 == 0)
        for (LoggedShard* each : {&whole, &killed}) each->Settle();
      if (random() % 7 == 0)
        for (LoggedShard* each : {&whole, &killed}) each->CommitCut();
      if (!kill) continue;
      const absl::Status opened = killed.KillAndReopen();
      ASSERT_TRUE(opened.ok()) << opened;
      ASSERT_EQ(RowsOf(killed.job().tables()), RowsOf(whole.job().tables()));
      for (const int table : {0, 1})
        ASSERT_EQ(killed.job().tables().table(table).min_clock(),
                  whole.job().tables().table(table).min_clock());
      if (programs.last.body.empty()) continue;
      // Its acknowledgement may have been lost: it is sent again.
      killed.replies.clear();
      Send(killed, programs.last);
      killed.Settle();
      ASSERT_EQ(killed.replies.back().header.reason, Reason::kDuplicate);
    }
    for (LoggedShard* each : {&whole, &killed}) each->Settle();
    EXPECT_EQ(RowsOf(killed.job().tables()), RowsOf(whole.job().tables()));
    EXPECT_GE(whole.job().tables().table(0).min_clock(), 9);
    held += programs.held;
    cuts += whole.cuts.size();
  }
  EXPECT_GT(held, 0);
  EXPECT_GT(cuts, 9u);
}

ps::TableInc OneInc(int rank, int64_t clock, uint64_t sequence, float delta) {
  ps::TableInc inc;
  inc.rank = rank;
  inc.clock = clock;
  inc.sequence = sequence;
  inc.rows = {1};
  inc.deltas = {delta, 0};
  return inc;
}

TEST(TableLogTest, AnIncrementIsAcknowledgedOnceItIsDurable) {
  LoggedShard shard(Request());
  Send(shard, MakeInc(shard, OneInc(0, 0, 1, 5)));
  EXPECT_THAT(shard.replies, IsEmpty());
  EXPECT_EQ(shard.job().tables().table(0).row(1)[0], 0);
  shard.Settle();
  ASSERT_EQ(shard.replies.size(), 1u);
  EXPECT_EQ(shard.replies[0].header.type, MessageType::kPushAck);
  EXPECT_EQ(shard.job().tables().table(0).row(1)[0], 5);
}

// Version k of a cut holds the clocks before k and nothing else, while a worker
// that is ahead goes on.
TEST(TableLogTest, ACutIsOfOneClock) {
  LoggedShard shard(Request("checkpoint_clocks: 2"));
  for (const int64_t clock : {0, 1}) {
    for (const int rank : {0, 1, 2}) {
      if (clock == 1 && rank == 2) continue;
      Send(shard, MakeInc(shard, OneInc(rank, clock, clock + 1, 1)));
      Tick(shard, rank, clock, {static_cast<uint64_t>(clock) + 1, 0});
    }
  }
  shard.Settle();
  const Inc early = MakeInc(shard, OneInc(0, 2, 3, 100));
  EXPECT_EQ(shard.job().tables().Check(early.header), Reason::kTooFarAhead);
  EXPECT_THAT(shard.cuts, IsEmpty());
  Send(shard, MakeInc(shard, OneInc(2, 1, 2, 1)));
  Tick(shard, 2, 1, {2, 0});
  shard.Settle();
  EXPECT_THAT(shard.cuts, ElementsAre(2));
  EXPECT_EQ(shard.job().tables().Check(early.header), Reason::kNone);
  Send(shard, early);
  shard.Settle();
  EXPECT_EQ(shard.job().tables().table(0).row(1)[0], 106);
  shard.CommitCut();
  // Another job begins from it, with other workers that have sent nothing.
  control::OpenShardRequest resumed = Request();
  resumed.set_job_id("tables-2");
  resumed.mutable_spec()->set_durability(control::CHECKPOINT);
  resumed.mutable_spec()->set_workers(1);
  const auto other = shard.OpenFromCut(resumed);
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ((*other)->tables().table(0).row(1)[0], 6);
  EXPECT_EQ((*other)->tables().table(0).min_clock(), 2);
  EXPECT_EQ((*other)->tables().Inc(OneInc(0, 2, 1, 1)), Reason::kNone);
}

// On more servers than before each takes its own rows.
TEST(TableLogTest, ACutServesAnotherNumberOfServers) {
  LoggedShard shard(Request("checkpoint_clocks: 1"));
  ps::TableInc inc = OneInc(0, 0, 1, 0);
  inc.rows = {0, 1, 2, 3};
  inc.deltas = {10, 0, 11, 0, 12, 0, 13, 0};
  Send(shard, MakeInc(shard, inc));
  for (const int rank : {0, 1, 2})
    Tick(shard, rank, 0, {rank == 0 ? 1u : 0u, 0});
  shard.Settle();
  shard.CommitCut();
  control::OpenShardRequest resumed = Request();
  resumed.set_job_id("tables-2");
  resumed.mutable_spec()->set_durability(control::CHECKPOINT);
  resumed.mutable_shard_map()->add_servers();
  resumed.set_server_index(1);
  const auto other = shard.OpenFromCut(resumed);
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ((*other)->tables().table(0).row(1)[0], 11);
  EXPECT_EQ((*other)->tables().table(0).row(3)[0], 13);
  EXPECT_EQ((*other)->tables().Inc(OneInc(0, 1, 1, 1)), Reason::kNone);
  inc.sequence = 2;
  EXPECT_EQ((*other)->tables().Inc(inc), Reason::kNotMine);
}

TEST(TableLogTest, ADamagedCutIsNamed) {
  LoggedShard shard(Request("checkpoint_clocks: 1"));
  Send(shard, MakeInc(shard, OneInc(0, 0, 1, 1)));
  for (const int rank : {0, 1, 2})
    Tick(shard, rank, 0, {rank == 0 ? 1u : 0u, 0});
  shard.Settle();
  shard.CommitCut();
  ASSERT_TRUE(
      shard.store().DeletePrefix(CutPrefix("tables-1", 1) + "t0000").ok());
  const absl::Status opened = shard.KillAndReopen();
  EXPECT_TRUE(absl::IsDataLoss(opened)) << opened;
  EXPECT_THAT(opened.ToString(), HasSubstr("t0000/00000000' is missing"));
  // Rows of another width than the count says.
  StoreEntry record = EncodeTableRows({"tables-1", 1, 0, 0}, {1}, {1, 2, 3});
  ASSERT_TRUE(shard.store().Write({record}, true).ok());
  EXPECT_THAT(shard.KillAndReopen().ToString(), HasSubstr("is malformed"));
}

// A worker that died stays dead, and its sum stands.
TEST(TableLogTest, TheDeadStayDead) {
  LoggedShard shard(Request("checkpoint_clocks: 1"));
  Send(shard, MakeInc(shard, OneInc(2, 0, 1, 7)));
  for (const int rank : {0, 1}) Tick(shard, rank, 0, {0, 0});
  control::WorkerGoneRequest gone;
  gone.set_rank(2);
  gone.set_incarnation(1);
  shard.job().WorkerGone(gone, [](auto) {});
  shard.Settle();
  ASSERT_THAT(shard.cuts, ElementsAre(1));
  for (const bool from_cut : {false, true}) {
    if (from_cut) shard.CommitCut(1);
    ASSERT_TRUE(shard.KillAndReopen().ok());
    EXPECT_EQ(shard.job().tables().table(0).row(1)[0], 7);
    EXPECT_EQ(shard.job().tables().table(0).min_clock(), 1);
    shard.replies.clear();
    Send(shard, MakeInc(shard, OneInc(2, 0, 2, 7)));
    shard.Settle();
    EXPECT_EQ(shard.replies.back().header.reason, Reason::kFenced);
  }
}

}  // namespace
}  // namespace cssp
