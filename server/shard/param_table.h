// An additive SSP table (Get / Inc / Clock) as one shard holds it: its rows,
// and which reads have to wait.
#ifndef CSSP_SERVER_SHARD_PARAM_TABLE_H_
#define CSSP_SERVER_SHARD_PARAM_TABLE_H_

#include <cstdint>
#include <deque>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/ps/messages.h"
#include "common/ps/table_wire.h"
#include "server/shard/chunk_table.h"
#include "server/shard/row_store.h"
#include "server/shard/vector_clock.h"

namespace cssp {

// Where rows go.  Called from inside the table's methods.
class TableOutput {
 public:
  virtual ~TableOutput() = default;
  virtual void SendRows(PeerId peer, const ps::TableRows& rows) = 0;
};

// How far one worker's increments are in, between two of its clocks.
struct TableLane {
  int64_t done = 0;      // clocks
  uint64_t applied = 0;  // increments
  bool finished = false;
  bool removed = false;
};

// A table's part of a cut on one shard: every increment of clocks before it, and
// no other.
struct TableCut {
  RowStore::Snapshot rows;
  std::vector<TableLane> lanes;  // by rank
};

// All tables of a job.  Dropped on the shard thread.
struct TablesCut {
  int servers = 1;
  int self = 0;
  std::vector<TableCut> tables;
};

struct TableOptions {
  uint32_t id = 0;
  int64_t rows = 0;  // of the whole table; row r lives on shard r % servers
  // Sparse: rows are made by their first increment, at most so many in this
  // shard; the others read as zeros.  0: dense, every row may be made.
  int64_t max_rows = 0;
  int width = 0;     // floats a row
  int workers = 1;
  int staleness = 0;
  int servers = 1;
  int self = 0;
  int64_t start_clock = 0;
};

// Thread-confined: the shard thread.  Invariants:
//  1. A worker's increments are applied once each and in the order of their
//     sequence numbers, whatever the network repeats or reorders.
//  2. A read of clock c waits until min(done) >= c - s, no longer.
//  3. Rows say how many of the reader's own increments they contain, so the
//     reader replays the others: read-my-writes.
class ParamTable {
 public:
  static constexpr size_t kMaxHeld = 1024;  // increments out of order, a worker
  static constexpr size_t kMaxHeldBytes = size_t{64} << 20;  // of them
  static constexpr size_t kMaxParked = 1024;                 // reads, a worker

  // InvalidArgument: a size that cannot be.
  static absl::StatusOr<ParamTable> Create(const TableOptions& options,
                                           TableOutput& output);

  // kNone: applied, or held until the ones before it come; kDuplicate;
  // kTableFull: a new row of a sparse table that has no room;
  // kTooFarAhead: more than kMaxHeld, or kMaxHeldBytes, beyond the gap;
  // kNotMine; kBadMessage.
  ps::Reason Inc(const ps::TableInc& inc);
  // Answers by SendRows, now or when the bound is met.  kBadLength: rows that
  // do not fit into one message.
  ps::Reason Get(PeerId peer, const ps::TableGet& get);
  // Worker `rank` has committed clocks 0..clock with `incs` increments in all
  // (so far): done advances when they are in, too.
  absl::Status Tick(int rank, int64_t clock, uint64_t incs);
  // Counts as clock infinity once `incs` increments are in.
  void Finish(int rank, uint64_t incs);
  // A dead worker: counts as clock infinity from now on, whatever is missing.
  // What it was told is held is applied, also beyond a gap that will stay;
  // what still comes from it is refused (kFenced): its sum stands.
  void Remove(int rank);
  // REQUIRES: no increment is held back by a gap, which is so where min_clock
  // has reached the cut's clock and nothing of it or later has been taken.
  TableCut Cut() const;
  // Before any input.  False: a row that is not ours, or for which there is no
  // room.
  bool RestoreRow(int64_t row, absl::Span<const float> values);
  void RestoreLane(int rank, const TableLane& lane);
  // Reads of a connection that is gone are forgotten.
  void Detach(PeerId peer);

  absl::Span<const float> row(int64_t row) const;  // REQUIRES: ours
  int64_t min_clock() const { return min_; }
  int64_t done(int rank) const { return lanes_[rank].done; }
  int64_t parked() const;
  int width() const { return options_.width; }
  int workers() const { return options_.workers; }
  int64_t bytes() const { return store_.bytes(); }
  int64_t rows_made() const { return store_.rows(); }

 private:
  static constexpr uint64_t kNever = ~uint64_t{0};

  struct PendingTick {
    int64_t clock = 0;
    uint64_t incs = 0;
  };
  struct ParkedGet {
    PeerId peer = 0;
    ps::TableGet get;
  };
  struct Lane {
    int64_t done = 0;
    uint64_t applied = 0;  // increments 1..applied are in the rows
    bool finished = false;
    bool removed = false;
    uint64_t finished_at = kNever;  // increments until it counts as finished
    size_t held_bytes = 0;
    std::deque<ps::TableInc> held;  // by sequence, beyond a gap
    std::deque<PendingTick> ticks;  // by clock
    std::deque<ParkedGet> parked;
  };

  ParamTable(const TableOptions& options, TableOutput& output);
  bool Mine(int64_t row) const;
  void Apply(const ps::TableInc& inc);
  void Settle(Lane& lane);
  void UpdateMin();
  void Answer(PeerId peer, const ps::TableGet& get);

  TableOptions options_;
  TableOutput* output_;
  RowStore store_;            // by row / servers
  std::vector<float> zeros_;  // a row that was never made
  std::vector<Lane> lanes_;
  int64_t min_ = 0;
};

}  // namespace cssp

#endif  // CSSP_SERVER_SHARD_PARAM_TABLE_H_
