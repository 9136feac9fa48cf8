// The client side of an SSP table: cached rows, and the log of increments that
// a fresh row may not contain yet.  Logic only; the caller moves the messages.
#ifndef CSSP_COMMON_PS_TABLE_CLIENT_H_
#define CSSP_COMMON_PS_TABLE_CLIENT_H_

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "absl/types/span.h"
#include "common/ps/table_wire.h"

namespace cssp::ps {

// Thread-confined: one worker.  Invariants:
//  1. Get(row) contains every update of clocks < clock() - staleness, and all
//     of this client's own (read-my-writes), also right after fresh rows came.
//  2. Increments leave at Tick, not before, and stay in the log until rows that
//     contain them have come.
class TableClient {
 public:
  struct Options {
    uint32_t table = 0;
    int width = 1;
    int servers = 1;
    int32_t rank = 0;
    int64_t staleness = 0;
  };
  explicit TableClient(const Options& options);

  int64_t clock() const { return clock_; }
  // The row as this client may see it now; null: it must be fetched (a request
  // is in `Fetch`), or a fetch is under way.
  const std::vector<float>* Get(int64_t row);
  // What to send to the row's server for a Get that gave null.
  TableGet Fetch(int64_t row);
  // Adds to one element; visible to Get at once.
  void Inc(int64_t row, int element, float delta);
  // Ends the clock: the increments to send, by server.  They must be sent
  // again until acknowledged.
  struct Outgoing {
    int server = 0;
    TableInc inc;
  };
  std::vector<Outgoing> Tick();
  // Increments sent to `server` so far: what the tick says it covers.
  uint64_t sent(int server) const { return logs_[server].last; }
  // Fresh rows; older ones than those held are dropped.
  void OnRows(const TableRows& rows);
  int ServerOf(int64_t row) const { return row % options_.servers; }

 private:
  struct CachedRow {
    int64_t row_clock = -1;
    uint64_t applied = 0;
    std::vector<float> values;
  };
  struct Log {
    uint64_t last = 0;            // highest sequence sent
    std::deque<TableInc> unseen;  // sent, maybe not in some row yet
    uint64_t seen = 0;            // highest `applied` told by this server
  };

  const Options options_;
  int64_t clock_ = 0;
  uint64_t requests_ = 0;
  std::unordered_map<int64_t, CachedRow> cache_;
  std::map<int64_t, std::vector<float>> open_;  // this clock's, by row
  std::vector<Log> logs_;                       // by server
};

}  // namespace cssp::ps

#endif  // CSSP_COMMON_PS_TABLE_CLIENT_H_
