// A job's SSP tables as a program uses them: Get, Inc, Clock.
#ifndef CSSP_WORKER_SYNC_TABLE_SESSION_H_
#define CSSP_WORKER_SYNC_TABLE_SESSION_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "common/ps/table_client.h"
#include "common/rpc/shard_client.h"
#include "worker/sync/job_session.h"
#include "worker/sync/ps_client.h"

namespace cssp {

struct TableSessionOptions {
  std::string coordinator;
  std::string job;
  std::string token;
  int rank = -1;  // -1: the coordinator gives one
  TransportOptions transport;
  // How long Get and Finish wait before they give up.
  absl::Duration timeout = absl::Minutes(5);
  // Of cached rows, a table; at least a few rows.
  int64_t cache_bytes = int64_t{256} << 20;
  // Eager: what a clock has read is asked for again as soon as it ends, so that
  // fresh rows come while the program computes.  Lazy (the paper's): a row is
  // asked for when it is read and what is cached has become too old.
  bool eager = false;
};

// One worker of a job of tables (psctl submit --tables; Ho et al., NIPS 2013).
// Thread-confined: the program's thread.  Invariants:
//  1. Get in clock c sees every worker's increments of clocks < c - s, s being
//     the table's, and all of one's own.
//  2. Every increment is counted once on its server, whatever the network does;
//     of a program that is killed, each that a server held counts.
//  3. Memory: cache_bytes a table, this clock's increments, and what the
//     servers have not acknowledged.
//  4. Of a job with durability LOG a server may die and come back: calls wait
//     for it, then what it had not acknowledged is sent again and counts once.
// Errors: whatever ends the job here (a server out of reach, the job aborted)
// comes back from every later call.
class TableSession : private PsClientEvents {
 public:
  // Joins, waits for the servers to open the tables.  The first clock is 0, or
  // that of the checkpoint from which the job was resumed.
  static absl::StatusOr<std::unique_ptr<TableSession>> Join(
      const TableSessionOptions& options);
  // Without Finish: the worker counts as dead.
  ~TableSession() override;

  int rank() const { return session_->joined().rank(); }
  int workers() const { return session_->spec().workers(); }
  int staleness() const { return session_->spec().staleness(); }
  int staleness(int table) const;  // its own, or the job's
  int64_t clock() const { return clock_; }
  // Time spent in Get and Clock waiting for others, so far.
  absl::Duration waited() const { return waited_; }

  // NotFound names the job's tables.
  absl::StatusOr<int> FindTable(absl::string_view name) const;
  int num_tables() const { return session_->spec().tables_size(); }
  int64_t rows(int table) const {
    return session_->spec().tables(table).rows();
  }
  int width(int table) const { return session_->spec().tables(table).width(); }

  // Copies a row, fit for this clock, into `out` (width floats); blocks while
  // the bound is not met.
  absl::Status Get(int table, int64_t row, absl::Span<float> out)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Asks for those of `rows` that this clock may not read from the cache, in
  // few messages, and does not wait: their Gets then cost one delay together.
  absl::Status GetAsync(int table, absl::Span<const int64_t> rows)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Copies the rows, one after another.
  absl::Status BatchGet(int table, absl::Span<const int64_t> rows,
                        absl::Span<float> out) ABSL_LOCKS_EXCLUDED(mu_);
  // Adds to a row (width floats); visible to this program's Get at once, to the
  // others after Clock.
  absl::Status Inc(int table, int64_t row, absl::Span<const float> delta)
      ABSL_LOCKS_EXCLUDED(mu_);
  // To one element.
  absl::Status Inc(int table, int64_t row, int element, float delta)
      ABSL_LOCKS_EXCLUDED(mu_);
  // To rows.size() rows, whose deltas stand one after another.
  absl::Status BatchInc(int table, absl::Span<const int64_t> rows,
                        absl::Span<const float> deltas)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Ends the clock: its increments go out.  Never waits for other workers.
  absl::Status Clock() ABSL_LOCKS_EXCLUDED(mu_);
  // Waits until the servers hold every increment of the clocks before this one.
  absl::Status Flush() ABSL_LOCKS_EXCLUDED(mu_);
  // The program is done: waits until its increments are held, counts as clock
  // infinity from then on and leaves the job.
  absl::Status Finish() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  explicit TableSession(TableSessionOptions options)
      : options_(std::move(options)) {}
  absl::Status Start();
  absl::Status Connect(const control::ShardMap& map) ABSL_LOCKS_EXCLUDED(mu_);
  void Disconnect() ABSL_LOCKS_EXCLUDED(mu_);
  void Trim(size_t server);
  // Makes good what was lost, if anything was; waits for that.
  absl::Status Whole() ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status Rejoin() ABSL_LOCKS_EXCLUDED(mu_);
  // Calls `attempt` until it is whole, or fails for good.
  absl::Status Insist(const std::function<absl::Status()>& attempt)
      ABSL_LOCKS_EXCLUDED(mu_);
  bool DisturbedLocked() const ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return !failure_.ok() || !lost_.ok();
  }
  // Why a wait has ended.
  absl::Status TroubleLocked() const ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return failure_.ok() ? lost_ : failure_;
  }
  absl::Status CheckRow(int table, int64_t row) const;
  absl::Status CheckRows(int table, absl::Span<const int64_t> rows,
                         size_t floats) const;
  absl::Status AwaitLocked(int table, int64_t row, absl::Span<float> out)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AskLocked(int table, absl::Span<const int64_t> rows)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status AwaitRoom() ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status AwaitHeld() ABSL_LOCKS_EXCLUDED(mu_);
  control::Tick TickFor(size_t server, bool finished) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status SendTicks(bool finished);
  void Fail(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);

  // PsClientEvents, on the comm thread.
  float* OnValuesBegin(const ps::MessageHeader& header) override {
    return nullptr;
  }
  void OnValuesEnd(const ps::MessageHeader& header, float* memory,
                   bool ok) override {}
  void OnPushDone(int chunk, int64_t clock) override {}
  void OnPullRefused(const ps::MessageHeader& header) override {}
  void OnReconnect(int server) override {}
  void OnFatal(const absl::Status& status) override { Fail(status); }
  void OnTableRows(int server, const ps::MessageHeader& header,
                   absl::Span<const uint8_t> body) override;
  void OnIncDone(int server, uint32_t table, uint64_t sequence) override;

  const TableSessionOptions options_;
  std::unique_ptr<JobSession> session_;
  std::unique_ptr<PsClient> client_;
  std::vector<std::unique_ptr<ShardClient>> shards_;
  std::vector<std::unique_ptr<TickStream>> ticks_;
  // By server: ticks that may not be in its log.  The first `acknowledged` of the
  // present stream have gone.
  struct Unanswered {
    std::deque<control::Tick> ticks;
    int64_t answered = 0;  // of this stream, and no longer kept
  };
  std::vector<Unanswered> unanswered_;
  int64_t clock_ = 0;
  bool finished_ = false;
  absl::Time clock_begin_;
  absl::Duration waited_, clock_waited_;

  absl::Mutex mu_;
  std::vector<ps::TableClient> tables_ ABSL_GUARDED_BY(mu_);
  int64_t incs_out_ ABSL_GUARDED_BY(mu_) = 0;   // not yet held by a server
  uint64_t arrivals_ ABSL_GUARDED_BY(mu_) = 0;  // of rows
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
  // Connections to be made anew; durability LOG.
  absl::Status lost_ ABSL_GUARDED_BY(mu_);
};

}  // namespace cssp

#endif  // CSSP_WORKER_SYNC_TABLE_SESSION_H_
