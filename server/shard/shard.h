// One job's share of the parameters on one server: takes the workers'
// gradients, applies the update rule and decides who may read what when.
//
//   OnPush -> parts -> (update mode) apply -> parked pulls, eager values, cuts
//
// The update mode is a subclass, chosen at Create: PerClockShard applies the
// mean of a clock once all its parts are in, PerPushShard one worker's clock.
#ifndef CSSP_SERVER_SHARD_SHARD_H_
#define CSSP_SERVER_SHARD_SHARD_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/optim/chunk_update.h"
#include "common/optim/learning_rate_policy.h"
#include "common/optim/plateau.h"
#include "common/ps/freshness.h"
#include "common/ps/messages.h"
#include "common/ps/slab_layout.h"
#include "proto/control.pb.h"
#include "server/shard/buffer_pool.h"
#include "server/shard/chunk_table.h"
#include "server/shard/contributors.h"
#include "server/shard/cut_keeper.h"
#include "server/shard/order_book.h"
#include "server/shard/shard_counters.h"
#include "server/shard/vector_clock.h"

namespace cssp {

// What a shard emits.  Called from inside the shard's methods; must not call
// back into the shard.
class ShardOutput {
 public:
  virtual ~ShardOutput() = default;
  // kValues with the chunk's floats.  `values` must be held until the bytes
  // have left; then OnValuesSent.
  virtual void SendValues(PeerId peer, const ps::MessageHeader& header,
                          BufferRef values) = 0;
  // kPushAck or kRefused, no payload.
  virtual void SendReply(PeerId peer, const ps::MessageHeader& header) = 0;
  // This shard's partials of `clock`, for one other server.
  virtual void SendNorms(int server, int64_t clock,
                         std::vector<double> partials) = 0;
  // Whose parts make up `clock`, for one other server (backup workers).
  virtual void SendContributors(int server, int64_t clock,
                                std::vector<int32_t> ranks) = 0;
  // Decided here, with decisions_logged: OnDecided is to follow once it is
  // durable.
  virtual void LogContributors(int64_t clock, std::vector<int32_t> ranks) {}
  // A durable cut is complete; its arrays may be read until dropped.
  virtual void CutReady(const RetainedCut& cut) = 0;
};

struct ShardOptions {
  caffe::SolverParameter solver;  // rule, schedule; nets are not looked at
  int workers = 1;  // ranks that may ever contribute
  // Ranks that contribute from start_clock on; empty: all.
  std::vector<int> members;
  int staleness = 0;
  // Highest staleness that an order may set: room for (max_staleness + 1) *
  // workers gradients a chunk.  Raised to `staleness`.
  int max_staleness = 0;
  control::SspUpdate update = control::PER_CLOCK;
  control::StalenessLr staleness_lr = control::STALENESS_LR_NONE;
  bool lookahead = false;
  bool wait_for_dead = false;
  // Backup workers: a clock is the mean of the first P - backup that complete
  // it (and of who else has by then), decided by the map's server 0.
  int backup = 0;
  // Who makes up a clock is told, and holds, once it is in the shard's log.
  bool decisions_logged = false;
  // Every chunk keeps its values before the last update, too: who rejoins
  // computes its lost gradient on what it was computed on.
  bool keep_previous = false;
  int64_t start_clock = 0;
  bool restored = false;           // from a checkpoint of start_clock
  int64_t checkpoint_clocks = 0;   // a durable cut every so many; 0: none
  uint32_t job = 0;
  uint32_t job_epoch = 0;
  uint32_t map_epoch = 0;
  FloatMemory value_memory;       // of values; empty: the heap
  std::vector<int> chunk_server;  // owner of each chunk
  int servers = 1;
  int self = 0;
  PlateauState plateau;  // at start_clock, under lr_policy plateau
};

// Thread-confined: the shard thread.  No I/O, no time, no threads.  Invariants:
//  1. A part is taken once: identity is (job epoch, rank, clock, chunk).
//  2. Values with every update of clocks < row, and of the reader's own < own,
//     answer a read of clock c as soon as row >= c - s and own >= c, never
//     before (ps::Freshness).
//  3. Values are written out of place: what was sent once never changes.
class Shard {
 public:
  // InvalidArgument: the solver, the map, or a solver that the update mode
  // cannot have.
  static absl::StatusOr<std::unique_ptr<Shard>> Create(ps::SlabLayout layout,
                                                       ShardOptions options,
                                                       ShardOutput& output);
  virtual ~Shard() = default;

  // ---- Connections.  `peer` speaks for `rank` from now on; kFenced when a
  // newer incarnation has been seen or this one was declared dead.
  ps::Reason Attach(int rank, uint32_t incarnation, PeerId peer);
  void Detach(PeerId peer);

  // ---- Data plane.  Headers are decoded and belong to this job; payload
  // lengths were checked against ChunkFloats.
  // Floats of a chunk; 0: not ours.
  int64_t ChunkFloats(uint32_t chunk) const;
  // What OnPush would answer now, before any memory is given to the push.
  ps::Reason CheckPush(const ps::MessageHeader& header) const;
  // Memory for a chunk's gradient.  REQUIRES: ours.
  BufferRef NewPart(uint32_t chunk);
  void OnPush(PeerId peer, const ps::MessageHeader& header, BufferRef part);
  void OnInit(PeerId peer, const ps::MessageHeader& header,
              absl::Span<const float> floats);
  void OnPull(PeerId peer, const ps::MessageHeader& header);
  void OnPullExact(PeerId peer, const ps::MessageHeader& header);
  void OnSubscribe(PeerId peer, const ps::MessageHeader& header);
  // Memory of a SendValues is free again.
  void OnValuesSent(PeerId peer, uint32_t chunk);
  // False: partials that cannot be, or that this shard has no use for.
  virtual bool OnNorms(int server, int64_t clock,
                       absl::Span<const double> partials) {
    return false;
  }
  // (Re)connected: sends again what `server` may lack.
  virtual void OnServerConnected(int server) {}
  // A decision of the map's server 0.  False: one that cannot be.
  virtual bool OnContributors(int server, int64_t clock,
                              absl::Span<const int32_t> ranks) {
    return false;
  }
  // A decision of this shard's own is durable.
  virtual void OnDecided(int64_t clock, absl::Span<const int32_t> ranks) {}
  // Whether the job's servers have anything to say to each other.
  virtual bool has_peers() const { return false; }
  // Null: no backup workers.
  virtual const Contributors* contributors() const { return nullptr; }

  // ---- Control.
  // InvalidArgument, FailedPrecondition (fenced).
  absl::StatusOr<control::TickAck> Tick(const control::Tick& tick);
  absl::StatusOr<control::OrderAnswer> ProposeOrder(
      const control::ProposeOrderRequest& request);
  // From a log, into a shard that may begin after the order's clock: what was
  // decided then is not refused now.
  void ReplayOrder(const control::ProposeOrderRequest& request);
  void WorkerGone(int rank, uint32_t incarnation);
  // Worker `rank` goes on as a new incarnation: fences the older ones, tells
  // what it lacks here and, once it is known where it goes on (clock >= 0:
  // nothing before it is lacking on any shard), commits the clocks before.
  absl::StatusOr<control::RejoinWorkerResponse> Rejoin(
      const control::RejoinWorkerRequest& request);
  // For a log: what inputs leave behind but for the chunks, and back (into a
  // new shard, before any input).
  void SaveState(ShardLogState* state) const;
  void LoadState(const ShardLogState& state);
  // The log's last input has been given.
  virtual void Replayed() {}
  // Of a job of tables, which live beside the shard: the highest clock that has
  // begun there, for orders; the first cut after a clock.
  void NoteOpened(int64_t clock) {
    empty_opened_ = std::max(empty_opened_, clock);
  }
  int64_t NextCut(int64_t clock) const {
    return cuts_.NextDurable(clock, orders_);
  }
  // Declared dead, and no newer incarnation has come.
  bool IsGone(int rank) const { return ValidRank(rank) && workers_[rank].gone; }
  // Loads a slot of a chunk from a checkpoint; `last`: the chunk opens.
  void Restore(uint32_t chunk, int slot, absl::Span<const float> floats,
               bool last);
  // One worker's history of a chunk, instead of slot 1 and before slot 0.
  // REQUIRES: rank < worker_histories().
  virtual void RestoreWorkerHistory(uint32_t chunk, int rank,
                                    absl::Span<const float> floats) {}
  control::ShardStatusResponse Status() const;

  const ps::SlabLayout& layout() const { return layout_; }
  const ShardOptions& options() const { return options_; }
  const ShardCounters& counters() const { return counters_; }
  // History slots as Caffe has them: what is initialised and exported.
  int num_history() const { return update_->rule().num_history(); }
  // Arrays that a durable cut holds after those.
  virtual int worker_histories() const { return 0; }
  const std::vector<ChunkState>& chunks() const { return table_.chunks(); }
  // How fresh the chunk's values are to `rank`.  REQUIRES: ready.
  virtual ps::Freshness FreshnessFor(const ChunkState& chunk,
                                     int rank) const = 0;
  int64_t bytes() const { return table_.bytes(); }
  int64_t min_clock() const { return clocks_.min(); }
  int64_t done(int rank) const { return clocks_.done(rank); }
  // -1: not ours, or not initialised.
  int64_t version(uint32_t chunk) const;
  // Over chunks; -1 while one is not initialised.
  int64_t min_version() const;
  int64_t max_version() const;

 protected:
  struct Worker {
    uint32_t incarnation = 0;
    PeerId peer = 0;
    bool subscribed = false;
    bool gone = false;
    int64_t due_from = 0;  // first clock to which it contributes
    int64_t age = 0;       // of the values that its last push was computed on
  };
  struct Parts {  // what Create has made of the options
    std::unique_ptr<ChunkUpdate> update;
    LearningRatePolicy rates;
    std::optional<PlateauTracker> plateau;  // lr_policy plateau
    int history_arrays = 1;                 // of a chunk
  };

  // Takes what it uses of `parts`, and leaves the plateau.
  Shard(ps::SlabLayout layout, ShardOptions options, Parts&& parts,
        ShardOutput& output);

  // ---- What an update mode decides.
  // Would this push be taken?  Its chunk is ready, its sender no older
  // incarnation; identity and windows are the mode's to judge.
  virtual ps::Reason Admit(const ChunkState& chunk,
                           const ps::MessageHeader& push) const = 0;
  // A part has been taken and counted: applies what can be applied.
  virtual void OnPart(ChunkState& chunk, int rank) = 0;
  // A part came that had been taken.
  virtual void OnRepeated(const ps::MessageHeader& push) {}
  // A tick has been counted.
  virtual void OnTick(const control::Tick& tick) = 0;
  // Members or orders have changed: applies what can be applied.
  virtual void AdvanceAll() = 0;
  // Whether a subscriber that was sent `sent` is to get `now` unasked.
  virtual bool WorthSending(int rank, const ps::Freshness& sent,
                            const ps::Freshness& now) const = 0;
  // A history slot (1..) of initial values or of a cut; and the other way
  // round: copies for a durable cut.
  virtual void FillHistory(ChunkState& chunk, int slot,
                           absl::Span<const float> floats) = 0;
  virtual void SaveHistory(ChunkState& chunk,
                           std::vector<BufferRef>* arrays) = 0;
  // The first clock that `rank` has to send (again) for this chunk.
  virtual int64_t NextNeeded(const ChunkState& chunk, int rank) const;
  // History weighed by what it would move without new gradients until `rank`
  // may begin clock `target`: w - sum is the prediction.  Adds to `weighed`
  // (factor, array) pairs; gives the clocks looked ahead, 0: none.
  using Momentum = absl::InlinedVector<std::pair<float, const float*>, 4>;
  virtual int64_t LookAhead(const ChunkState& chunk, int64_t target,
                            Momentum* weighed) const = 0;
  // The clock for which `rank` will read the chunk next, as far as it shows.
  virtual int64_t NextRead(const ChunkState& chunk, int rank) const = 0;
  // The mode's own part of a log's state, and back.
  virtual void SaveMode(ShardLogState* state) const {}
  virtual void LoadMode(const ShardLogState& state) {}
  // For cuts: where a rate that follows the loss stands.
  virtual std::optional<PlateauState> plateau() const { return std::nullopt; }

  // ---- What the modes share (shard.cc).
  // Whether a clock has to wait for this rank's part.
  bool Required(int rank, int64_t clock) const;
  // The chunk has every update of the clocks before `version`: keeps a cut that
  // is due, and publishes.
  void Opened(ChunkState& chunk, int64_t version);
  // New values: who waits for them gets them, then who subscribes.
  void Publish(ChunkState& chunk);
  // A shard without chunks still has its (empty) part in every durable cut: it
  // goes by the ticks.
  void AdvanceEmpty();
  // Copies what belongs to blobs, so that the padding stays zero.
  static void CopySegments(const ChunkState& chunk,
                           absl::Span<const float> from, absl::Span<float> to);

  const ps::SlabLayout layout_;
  const ShardOptions options_;
  const std::unique_ptr<ChunkUpdate> update_;
  const LearningRatePolicy rates_;
  ShardOutput& output_;
  ChunkTable table_;
  VectorClock clocks_;
  OrderBook orders_;
  CutKeeper cuts_;
  std::vector<Worker> workers_;
  ShardCounters counters_;

 private:
  void KeepCut(ChunkState& chunk);
  void SendEagerly(ChunkState& chunk, int rank);
  int64_t OpenedClock() const;

  // Requests (shard_requests.cc).
  bool ValidRank(int rank) const {
    return rank >= 0 && rank < options_.workers;
  }
  ps::Reason Raise(int rank, uint32_t incarnation);
  void Forget(int rank);
  absl::StatusOr<control::OrderAnswer> TakeOrder(
      const control::ProposeOrderRequest& request, int64_t opened);
  void Reply(PeerId peer, const ps::MessageHeader& request, ps::Reason reason);
  void Answer(ChunkState& chunk, int rank, const ParkedPull& pull);
  void SendTo(ChunkState& chunk, int rank, int64_t target,
              ps::MessageHeader header);
  void AnswerPrevious(ChunkState& chunk, int rank, uint32_t sequence);
  void ReleaseExact(ChunkState& chunk);
  ps::MessageHeader ValuesHeader(const ChunkState& chunk) const;

  int64_t empty_version_;  // of a shard without chunks
  int64_t empty_opened_ = -1;
};

}  // namespace cssp

#endif  // CSSP_SERVER_SHARD_SHARD_H_
