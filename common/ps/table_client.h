// The client side of an SSP table: cached rows, and the log of increments that
// a fresh row may not contain yet.  Logic only; the caller moves the messages.
#ifndef CSSP_COMMON_PS_TABLE_CLIENT_H_
#define CSSP_COMMON_PS_TABLE_CLIENT_H_

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "common/ps/table_wire.h"

namespace cssp::ps {

// Thread-confined: one worker.  Invariants:
//  1. Get(row) contains every update of clocks < clock() - staleness, and all
//     of this client's own (read-my-writes), also right after fresh rows came.
//  2. Increments leave at Tick, not before.  One stays in the log until it is
//     acknowledged and no request is open that was made before that: whoever
//     only writes keeps no more than what is under way.
//  3. No more than `cache_rows` rows are cached; the least recently used goes.
class TableClient {
 public:
  struct Options {
    uint32_t table = 0;
    int width = 1;
    int servers = 1;
    int32_t rank = 0;
    int64_t staleness = 0;
    int64_t start_clock = 0;
    int64_t cache_rows = int64_t{1} << 20;
    // Of one message, unless a single row is longer.
    size_t message_bytes = size_t{1} << 20;
  };
  explicit TableClient(const Options& options);

  int64_t clock() const { return clock_; }
  int ServerOf(int64_t row) const {
    return static_cast<int>(row % options_.servers);
  }
  // The row as this client may see it now, until the next call; null: it must
  // be fetched, or a fetch is under way.
  const std::vector<float>* Get(int64_t row);
  // Requests for those of `rows` that Get would not give and that no open
  // request of this clock asks for.  Each must be sent until it is answered.
  struct Request {
    int server = 0;
    TableGet get;
  };
  std::vector<Request> Fetch(absl::Span<const int64_t> rows);
  // Requests for what was read in the clock before this one and does not hold
  // everybody's clocks before this one yet: so that later reads need not wait.
  std::vector<Request> Refresh();
  // True: the request is not answered yet.
  bool Open(uint64_t request) const { return open_requests_.count(request); }
  // Fresh rows.  An answer that comes again is ignored.
  void OnRows(const TableRows& rows);

  // Adds to one element, or to the row; visible to Get at once.
  void Inc(int64_t row, int element, float delta);
  void Inc(int64_t row, absl::Span<const float> delta);
  // Ends the clock: the increments to send.  They must be sent again until
  // acknowledged.
  struct Outgoing {
    int server = 0;
    TableInc inc;
  };
  std::vector<Outgoing> Tick();
  // Increments sent to `server` so far: what the tick says it covers.
  uint64_t sent(int server) const { return logs_[server].last; }
  // All connections are new: whatever was asked is to be asked anew, and these
  // increments, not acknowledged yet, are to be sent again.
  std::vector<Outgoing> Reconnected();
  // `server` holds the increment.
  void OnAcknowledged(int server, uint64_t sequence);

  // Increments kept, for tests and metrics.
  size_t logged() const;
  size_t cached() const { return cache_.size(); }

 private:
  struct CachedRow {
    int64_t row_clock = -1;
    int64_t read_clock = -1;  // last Get
    std::vector<float> values;
    std::list<int64_t>::iterator used;
  };
  struct LoggedInc {
    TableInc inc;
    bool acknowledged = false;
  };
  struct Log {
    uint64_t last = 0;           // highest sequence sent
    uint64_t acknowledged = 0;   // 1..acknowledged are held, hence applied
    std::deque<LoggedInc> incs;  // by sequence
    // Open requests: answers contain at least what was acknowledged when the
    // request was made.
    std::map<uint64_t, uint64_t> floors;  // by request
  };

  struct OpenRequest {
    int server = 0;
    int64_t clock = 0;
  };

  bool Fit(const CachedRow& row) const {
    return row.row_clock >= clock_ - options_.staleness;
  }
  std::vector<Request> MakeRequests(absl::Span<const int64_t> rows);
  void Install(const TableRows& rows, size_t index);
  void Evict();
  void Prune(Log& log);

  const Options options_;
  const size_t rows_a_message_;
  int64_t clock_;
  uint64_t requests_ = 0;
  absl::flat_hash_map<int64_t, CachedRow> cache_;
  std::list<int64_t> used_;  // cached rows, most recent first
  absl::flat_hash_map<int64_t, std::vector<float>> open_;  // this clock's
  std::vector<Log> logs_;                                  // by server
  absl::flat_hash_map<uint64_t, OpenRequest> open_requests_;
  absl::flat_hash_map<int64_t, int64_t> asked_;  // row: newest request's clock
};

}  // namespace cssp::ps

#endif  // CSSP_COMMON_PS_TABLE_CLIENT_H_
