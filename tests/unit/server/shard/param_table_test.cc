#include "server/shard/param_table.h"

#include "common/ps/table_client.h"
#include "gtest/gtest.h"

namespace cssp {
namespace {

class Rows : public TableOutput {
 public:
  void SendRows(PeerId peer, const ps::TableRows& rows) override {
    sent.push_back(rows);
  }
  std::vector<ps::TableRows> sent;
};

TableOptions Options() {
  return {.rows = 4, .width = 2, .workers = 2, .staleness = 1};
}

ps::TableInc Inc(int rank, uint64_t sequence, int64_t row, float delta) {
  ps::TableInc inc;
  inc.rank = rank;
  inc.sequence = sequence;
  inc.rows = {row};
  inc.deltas = {delta, 0};
  return inc;
}

TEST(ParamTableTest, AppliesOnceAndInOrder) {
  Rows rows;
  ParamTable table = *ParamTable::Create(Options(), rows);
  EXPECT_EQ(table.Inc(Inc(0, 2, 1, 10)), ps::Reason::kNone);  // held
  EXPECT_EQ(table.row(1)[0], 0);
  EXPECT_EQ(table.Inc(Inc(0, 2, 1, 10)), ps::Reason::kDuplicate);
  EXPECT_EQ(table.Inc(Inc(0, 1, 1, 1)), ps::Reason::kNone);
  EXPECT_EQ(table.row(1)[0], 11);
  EXPECT_EQ(table.Inc(Inc(0, 1, 1, 1)), ps::Reason::kDuplicate);
  EXPECT_EQ(table.Inc(Inc(0, 5000, 1, 1)), ps::Reason::kTooFarAhead);
  EXPECT_EQ(table.Inc(Inc(0, 3, 9, 1)), ps::Reason::kNotMine);
  EXPECT_EQ(table.Inc(Inc(5, 1, 1, 1)), ps::Reason::kBadMessage);
}

// A cut keeps what it was made of, whatever is added later.
TEST(ParamTableTest, ACutStands) {
  for (const int64_t sparse : {0, 3}) {
    TableOptions options = Options();
    options.max_rows = sparse;
    Rows rows;
    ParamTable table = *ParamTable::Create(options, rows);
    table.Inc(Inc(0, 1, 2, 5));
    const TableCut cut = table.Cut();
    table.Inc(Inc(0, 2, 2, 1));
    table.Inc(Inc(0, 3, 3, 1));
    EXPECT_EQ(table.row(2)[0], 6);
    EXPECT_EQ(cut.lanes[0].applied, 1u);
    ParamTable again = *ParamTable::Create(options, rows);
    for (size_t block = 0; block < cut.rows.blocks.size(); ++block) {
      const std::vector<int64_t> ids = cut.rows.RowsOf(block);
      for (size_t i = 0; i < ids.size(); ++i)
        EXPECT_TRUE(again.RestoreRow(
            ids[i], {cut.rows.blocks[block].get() + i * 2, 2}));
    }
    EXPECT_EQ(again.row(2)[0], 5);
    EXPECT_EQ(again.row(3)[0], 0);
    again.RestoreLane(0, cut.lanes[0]);
    EXPECT_EQ(again.Inc(Inc(0, 1, 2, 5)), ps::Reason::kDuplicate);
    EXPECT_EQ(again.Inc(Inc(0, 2, 2, 1)), ps::Reason::kNone);
    EXPECT_EQ(again.row(2)[0], 6);
    EXPECT_FALSE(again.RestoreRow(4, {cut.rows.blocks[0].get(), 2}));
  }
}

TEST(ParamTableTest, ParksReadsUntilTheBoundIsMet) {
  Rows rows;
  ParamTable table = *ParamTable::Create(Options(), rows);
  ps::TableGet get;
  get.clock = 2;
  get.rows = {1};
  EXPECT_EQ(table.Get(1, get), ps::Reason::kNone);
  EXPECT_EQ(table.parked(), 1);
  ASSERT_TRUE(table.Tick(0, 0, 0).ok());
  ASSERT_TRUE(table.Tick(1, 0, 1).ok());  // its increment is not in
  EXPECT_TRUE(rows.sent.empty());
  table.Inc(Inc(1, 1, 1, 7));
  ASSERT_EQ(rows.sent.size(), 1u);
  EXPECT_EQ(rows.sent[0].row_clock, 1);
  EXPECT_EQ(rows.sent[0].values[0], 7);
  EXPECT_EQ(table.parked(), 0);
}

// A worker's last increments may come after its last tick: nobody reads on
// before they are in.
TEST(ParamTableTest, FinishedCountsOnceTheIncrementsAreIn) {
  Rows rows;
  ParamTable table = *ParamTable::Create(Options(), rows);
  ASSERT_TRUE(table.Tick(1, 0, 0).ok());
  table.Finish(0, 1);
  EXPECT_EQ(table.min_clock(), 0);
  ps::TableGet get;
  get.clock = 2;
  get.rank = 1;
  get.rows = {1};
  EXPECT_EQ(table.Get(7, get), ps::Reason::kNone);
  EXPECT_EQ(table.parked(), 1);
  table.Inc(Inc(0, 1, 1, 3));
  ASSERT_EQ(rows.sent.size(), 1u);
  EXPECT_EQ(rows.sent[0].values[0], 3);
  EXPECT_EQ(table.min_clock(), 1);
}

TEST(ParamTableTest, TheDeadAndTheirReadsAreForgotten) {
  Rows rows;
  ParamTable table = *ParamTable::Create(Options(), rows);
  ps::TableGet get;
  get.clock = 2;
  get.rows = {1};
  get.rank = 0;
  EXPECT_EQ(table.Get(7, get), ps::Reason::kNone);
  get.rank = 1;
  EXPECT_EQ(table.Get(8, get), ps::Reason::kNone);
  table.Detach(7);
  EXPECT_EQ(table.parked(), 1);
  ASSERT_TRUE(table.Tick(1, 0, 0).ok());
  table.Remove(0);
  EXPECT_EQ(table.min_clock(), 1);
  EXPECT_EQ(rows.sent.size(), 1u);
}

// What waits for a gap is bounded; what fills it is always taken.
TEST(ParamTableTest, HeldBytesAreBounded) {
  Rows rows;
  ParamTable table = *ParamTable::Create(
      {.rows = 1, .width = ps::kMaxTableWidth, .workers = 1}, rows);
  ps::TableInc inc;
  inc.rows = {0};
  inc.deltas.assign(ps::kMaxTableWidth, 1);
  ps::Reason reason = ps::Reason::kNone;
  uint64_t sequence = 2;
  while (reason == ps::Reason::kNone && sequence < 200) {
    inc.sequence = sequence++;
    reason = table.Inc(inc);
  }
  EXPECT_EQ(reason, ps::Reason::kTooFarAhead);
  EXPECT_EQ(sequence, 66u);  // 63 of a little over 1 MiB fit into 64 MiB
  inc.sequence = 1;
  EXPECT_EQ(table.Inc(inc), ps::Reason::kNone);
  EXPECT_EQ(table.row(0)[0], 64);
  inc.sequence = 65;
  EXPECT_EQ(table.Inc(inc), ps::Reason::kNone);
}

// What was acknowledged counts, also beyond a gap that the dead will not fill;
// nothing counts after that.
TEST(ParamTableTest, WhatTheDeadWereToldIsHeldCounts) {
  Rows rows;
  ParamTable table = *ParamTable::Create(Options(), rows);
  EXPECT_EQ(table.Inc(Inc(0, 1, 1, 1)), ps::Reason::kNone);
  EXPECT_EQ(table.Inc(Inc(0, 3, 1, 10)), ps::Reason::kNone);
  EXPECT_EQ(table.row(1)[0], 1);
  table.Remove(0);
  EXPECT_EQ(table.row(1)[0], 11);
  EXPECT_EQ(table.Inc(Inc(0, 2, 1, 100)), ps::Reason::kFenced);
  EXPECT_EQ(table.Inc(Inc(0, 3, 1, 10)), ps::Reason::kFenced);
  EXPECT_EQ(table.row(1)[0], 11);
}

TEST(ParamTableTest, SparseRowsAreMadeByTheirFirstIncrement) {
  Rows rows;
  TableOptions options = Options();
  options.rows = int64_t{1} << 40;
  options.max_rows = 2;
  options.servers = 3;
  options.self = 1;
  ParamTable table = *ParamTable::Create(options, rows);
  EXPECT_EQ(table.bytes(), 0);
  const int64_t far = 3 * 300000000000 + 1;
  ps::TableGet get;
  get.rows = {far};
  EXPECT_EQ(table.Get(1, get), ps::Reason::kNone);
  EXPECT_EQ(rows.sent.back().values, (std::vector<float>{0, 0}));
  EXPECT_EQ(table.rows_made(), 0);
  EXPECT_EQ(table.Inc(Inc(0, 1, far, 5)), ps::Reason::kNone);
  EXPECT_EQ(table.Inc(Inc(1, 1, far, 5)), ps::Reason::kNone);
  EXPECT_EQ(table.Inc(Inc(0, 2, 4, 7)), ps::Reason::kNone);
  EXPECT_EQ(table.rows_made(), 2);
  EXPECT_EQ(table.Inc(Inc(0, 3, 7, 1)), ps::Reason::kTableFull);
  EXPECT_EQ(table.Inc(Inc(0, 3, far, 1)), ps::Reason::kNone);
  EXPECT_EQ(table.row(far)[0], 11);
  EXPECT_EQ(table.row(4)[0], 7);
  EXPECT_EQ(table.row(7)[0], 0);
}

TEST(TableWireTest, BodiesSurviveAndLengthsAreChecked) {
  ps::TableRows rows;
  rows.request = 7;
  rows.applied = 9;
  rows.rows = {1, 5};
  rows.values = {1, 2, 3, 4};
  const std::string bytes = ps::EncodeRows(rows);
  const absl::Span<const uint8_t> span(
      reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  ps::TableRows back;
  ASSERT_TRUE(ps::DecodeRows(span, 2, &back).ok());
  EXPECT_EQ(back.rows, rows.rows);
  EXPECT_EQ(back.values, rows.values);
  EXPECT_EQ(back.applied, 9u);
  for (size_t n = 0; n < span.size(); ++n) {
    EXPECT_FALSE(ps::DecodeRows(span.first(n), 2, &back).ok());
  }
  EXPECT_FALSE(ps::DecodeRows(span, 3, &back).ok());
}

}  // namespace
}  // namespace cssp
