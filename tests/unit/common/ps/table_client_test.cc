#include "common/ps/table_client.h"

#include "gtest/gtest.h"

namespace cssp::ps {
namespace {

using Requests = std::vector<TableClient::Request>;

// An answer to a request, every row with `value` in its first element.
TableRows Answer(const TableClient::Request& request, int width,
                 int64_t row_clock, uint64_t applied, float value) {
  TableRows rows;
  rows.server = request.server;
  rows.request = request.get.request;
  rows.row_clock = row_clock;
  rows.applied = applied;
  rows.rows = request.get.rows;
  rows.values.resize(rows.rows.size() * width);
  for (size_t i = 0; i < rows.rows.size(); ++i) rows.values[i * width] = value;
  return rows;
}

TEST(TableClientTest, ReadMyWritesAfterFreshRows) {
  TableClient client({.width = 2, .staleness = 1});
  EXPECT_EQ(client.Get(1), nullptr);
  const Requests first = client.Fetch({1});
  ASSERT_EQ(first.size(), 1u);
  EXPECT_TRUE(client.Fetch({1}).empty());  // under way
  client.OnRows(Answer(first[0], 2, 0, 0, 100));
  client.Inc(1, 0, 1);
  EXPECT_EQ((*client.Get(1))[0], 101);
  EXPECT_EQ(client.Tick().size(), 1u);  // sequence 1
  client.Tick();
  client.Inc(1, 0, 2);  // open
  // Fresh rows without our increments: both are replayed.
  const Requests second = client.Fetch({1});
  ASSERT_EQ(second.size(), 1u);
  client.OnRows(Answer(second[0], 2, 1, 0, 200));
  EXPECT_EQ((*client.Get(1))[0], 203);
  // Fresh rows that contain the first one: only the open one is.
  client.Tick();
  client.Inc(1, 0, 4);
  const Requests third = client.Fetch({1});
  ASSERT_EQ(third.size(), 1u);
  client.OnRows(Answer(third[0], 2, 3, 1, 300));
  EXPECT_EQ((*client.Get(1))[0], 306);
  // An answer that comes again changes nothing.
  client.OnRows(Answer(second[0], 2, 9, 0, 999));
  EXPECT_EQ((*client.Get(1))[0], 306);
}

// Acknowledgements empty the log, in whatever order they come.
TEST(TableClientTest, WhoOnlyWritesKeepsNothing) {
  TableClient client({.width = 1, .servers = 2});
  for (int clock = 0; clock < 1000; ++clock) {
    client.Inc(0, 0, 1);
    client.Inc(1, 0, 1);
    ASSERT_EQ(client.Tick().size(), 2u);
    if (clock % 4 != 3) continue;
    const uint64_t last = clock + 1;
    for (uint64_t back : {1, 3, 2, 0}) {
      client.OnAcknowledged(0, last - back);
      client.OnAcknowledged(1, last - back);
      client.OnAcknowledged(1, last - back);  // again
    }
    ASSERT_EQ(client.logged(), 0u);
  }
  EXPECT_EQ(client.sent(0), 1000u);
}

// An open request may be answered with rows from before an acknowledgement.
TEST(TableClientTest, TheLogLastsAsLongAsARequestThatMayNeedIt) {
  TableClient client({.width = 1, .staleness = 9});
  const Requests early = client.Fetch({0});
  client.Inc(0, 0, 1);
  client.Tick();
  client.OnAcknowledged(0, 1);
  EXPECT_EQ(client.logged(), 1u);
  client.OnRows(Answer(early[0], 1, 0, 0, 50));
  EXPECT_EQ((*client.Get(0))[0], 51);
  EXPECT_EQ(client.logged(), 0u);
}

TEST(TableClientTest, TheCacheIsBoundedAndForgetsTheLeastUsed) {
  TableClient client({.width = 1, .cache_rows = 3});
  for (int64_t row : {0, 1, 2}) {
    client.OnRows(Answer(client.Fetch({row})[0], 1, 0, 0, row));
  }
  client.Inc(1, 0, 0.5f);
  EXPECT_NE(client.Get(0), nullptr);
  client.OnRows(Answer(client.Fetch({3})[0], 1, 0, 0, 3));
  EXPECT_EQ(client.cached(), 3u);
  EXPECT_EQ(client.Get(1), nullptr);
  EXPECT_NE(client.Get(0), nullptr);
  // What was written to a forgotten row is there when it comes back.
  client.OnRows(Answer(client.Fetch({1})[0], 1, 0, 0, 1));
  EXPECT_EQ((*client.Get(1))[0], 1.5f);
}

TEST(TableClientTest, MessagesAreCutToTheirSize) {
  TableClient client({.width = 2, .servers = 2, .message_bytes = 64});
  std::vector<int64_t> rows;
  for (int64_t row = 0; row < 20; ++row) {
    client.Inc(row, {1, 2});
    rows.push_back(row);
  }
  const auto sent = client.Tick();
  ASSERT_EQ(sent.size(), 6u);  // 10 rows a server, 4 of 16 bytes a message
  size_t count = 0;
  for (const auto& [server, inc] : sent) {
    EXPECT_LE(inc.rows.size(), 4u);
    EXPECT_EQ(inc.deltas.size(), 2 * inc.rows.size());
    for (int64_t row : inc.rows) EXPECT_EQ(row % 2, server);
    count += inc.rows.size();
  }
  EXPECT_EQ(count, 20u);
  EXPECT_EQ(client.sent(0), 3u);
  EXPECT_EQ(client.Fetch(rows).size(), 6u);
}

// The server may have died: what it had not acknowledged is sent again, what was
// asked is asked anew.
TEST(TableClientTest, GoesOnAfterAReconnect) {
  TableClient client({.width = 1, .staleness = 0, .start_clock = 7});
  EXPECT_EQ(client.clock(), 7);
  const Requests before = client.Fetch({1});
  ASSERT_EQ(before.size(), 1u);
  EXPECT_EQ(before[0].get.clock, 7);
  for (int i = 0; i < 3; ++i) {
    client.Inc(1, 0, 1);
    client.Tick();
  }
  client.OnAcknowledged(0, 1);
  client.OnAcknowledged(0, 3);
  const auto again = client.Reconnected();
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].inc.sequence, 2u);
  EXPECT_EQ(again[0].inc.clock, 8);
  client.OnRows(Answer(before[0], 1, 10, 1, 50));
  EXPECT_EQ(client.Get(1), nullptr) << "an answer to nobody";
  const Requests after = client.Fetch({1});
  ASSERT_EQ(after.size(), 1u);
  client.OnRows(Answer(after[0], 1, 10, 1, 50));
  EXPECT_EQ((*client.Get(1))[0], 52);
}

TEST(TableClientTest, RefreshAsksForWhatTheLastClockRead) {
  TableClient client({.width = 1, .staleness = 5});
  for (int64_t row : {0, 1, 2}) {
    client.OnRows(Answer(client.Fetch({row})[0], 1, 0, 0, 0));
    client.Get(row);
  }
  client.Tick();
  client.Get(1);
  client.Tick();
  const Requests requests = client.Refresh();
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_EQ(requests[0].get.rows, std::vector<int64_t>{1});
  EXPECT_EQ(requests[0].get.clock, 2);
  EXPECT_TRUE(client.Refresh().empty());
}

}  // namespace
}  // namespace cssp::ps
