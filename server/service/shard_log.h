// Durability LOG: what a shard takes is on disk before it is applied, so nothing
// that anybody saw or was told of is ever lost with this process.
#ifndef CSSP_SERVER_SERVICE_SHARD_LOG_H_
#define CSSP_SERVER_SERVICE_SHARD_LOG_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/base/thread.h"
#include "server/shard/buffer_pool.h"
#include "server/storage/record_log.h"

namespace cssp {

// What the records of a shard's log are; see proto/README.md.
enum class ShardInput : uint8_t {
  kState = 1,  // ShardLogState: begins each segment
  kInit = 2,   // header of the message, payload
  kPush = 3,   // the same
  kTick = 4,   // control.Tick
  kOrder = 5,  // control.ProposeOrderRequest
  kGone = 6,   // control.WorkerGoneRequest
  kRejoin = 7,  // control.RejoinWorkerRequest
  kNorms = 8,  // header of the message, doubles
  kContributors = 9,  // header of the message, ranks
  kTableInc = 10,  // header of the message, body
};

// Thread-confined: the shard thread; its own thread writes and syncs.
// Invariants: inputs are applied in the order of the log, each once its group
// is durable; while the disk refuses, nothing is applied and it is tried again.
class ShardLog {
 public:
  // `applied` false: the shard closes, the input has no effect.
  using Apply = std::function<void(bool applied)>;

  // One file of the log, and the highest clock of which it holds an input.
  struct Segment {
    uint64_t number = 0;
    int64_t max_clock = -1;
  };

  // Goes on after `earlier`, the segments that are there.  `on_durable` is
  // called on the log's thread.
  static absl::StatusOr<std::unique_ptr<ShardLog>> Start(
      const RecordLogOptions& options, uint64_t first_segment,
      const std::vector<Segment>& earlier, std::function<void()> on_durable);
  ~ShardLog() { Close(); }

  // `clock`: the job's clock that it belongs to, -1 none.
  void Append(ShardInput type, std::string head, BufferRef body, int64_t clock,
              Apply apply);
  // Applies what has become durable; how many inputs.
  int Settle();
  // Everything appended has been applied.
  bool idle() const { return pending_.empty(); }
  // Bytes that wait to be applied.
  int64_t waiting_bytes() const { return waiting_bytes_; }
  // Of the segment written now.
  int64_t segment_bytes() const { return segment_bytes_; }
  // The first segment's state; before any input.
  void Begin(std::string state);
  // Begins a segment with the shard's present state.  REQUIRES: idle.
  void Roll(std::string state);
  // A committed cut has everything of clocks < `clock`: drops the segments that
  // hold nothing else.
  void DropCovered(int64_t clock);
  // Joins; what is pending is not applied.  Idempotent.
  void Close();

 private:
  struct Command {
    LogRecord record;
    bool roll = false;       // first a new segment
    uint64_t drop = 0;       // > 0: segments below it, no record
    uint64_t sequence = 0;
  };
  struct Pending {
    uint64_t sequence;
    BufferRef body;
    int64_t bytes;
    Apply apply;
  };

  ShardLog(std::unique_ptr<RecordLog> log, const std::vector<Segment>& earlier,
           std::function<void()> on_durable);
  void Run();
  bool Try(const std::function<absl::Status()>& write);
  void Queue(Command command) ABSL_LOCKS_EXCLUDED(mu_);

  const std::unique_ptr<RecordLog> log_;  // its thread's, after Start
  const std::function<void()> on_durable_;
  uint64_t sequence_ = 0;
  int64_t waiting_bytes_ = 0;
  int64_t segment_bytes_ = 0;
  std::deque<Pending> pending_;
  std::deque<Segment> segments_;  // the last one is written now
  std::atomic<uint64_t> durable_{0};

  absl::Mutex mu_;
  std::vector<Command> queue_ ABSL_GUARDED_BY(mu_);
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  Thread thread_;
};

}  // namespace cssp

#endif  // CSSP_SERVER_SERVICE_SHARD_LOG_H_
