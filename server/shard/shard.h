// One job's share of the parameters on one server: sums the workers' gradients
// clock by clock, applies the update rule and decides who may read what when.
//
//   OnPush -> parts -> (all in) sum -> [norms of all shards] -> apply
//          -> version + 1 -> parked pulls, eager values, cuts
#ifndef CSSP_SERVER_SHARD_SHARD_H_
#define CSSP_SERVER_SHARD_SHARD_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/optim/chunk_update.h"
#include "common/optim/learning_rate_policy.h"
#include "common/optim/plateau.h"
#include "common/ps/messages.h"
#include "common/ps/slab_layout.h"
#include "proto/control.pb.h"
#include "server/shard/buffer_pool.h"
#include "server/shard/chunk_table.h"
#include "server/shard/cut_keeper.h"
#include "server/shard/loss_book.h"
#include "server/shard/norm_exchange.h"
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
  // A durable cut is complete; its arrays may be read until dropped.
  virtual void CutReady(const RetainedCut& cut) = 0;
};

struct ShardOptions {
  caffe::SolverParameter solver;  // rule, schedule; nets are not looked at
  int workers = 1;
  int staleness = 0;
  // Highest staleness that an order may set: room for (max_staleness + 1) *
  // workers gradients a chunk.  Raised to `staleness`.
  int max_staleness = 0;
  control::SspUpdate update = control::PER_CLOCK;
  bool lazy_pull = false;
  bool wait_for_dead = false;
  int64_t start_clock = 0;
  uint32_t job = 0;
  uint32_t job_epoch = 0;
  uint32_t map_epoch = 0;
  std::vector<int> chunk_server;  // owner of each chunk
  int servers = 1;
  int self = 0;
  PlateauState plateau;  // at start_clock, under lr_policy plateau
};

// Thread-confined: the shard thread.  No I/O, no time, no threads.  Invariants:
//  1. A chunk goes from version v to v + 1 once, when the part of every
//     contributor of clock v is in, summed in rank order.
//  2. A part is taken once: identity is (job epoch, rank, clock, chunk).
//  3. A pull of clock c is answered as soon as version >= c - s, never before.
//  4. Values are written out of place: a version once sent never changes.
class Shard {
 public:
  // InvalidArgument: the solver or the map; Unimplemented: PER_PUSH, lazy pull.
  static absl::StatusOr<std::unique_ptr<Shard>> Create(ps::SlabLayout layout,
                                                       ShardOptions options,
                                                       ShardOutput& output);

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
  // False: partials that cannot be.
  bool OnNorms(int server, int64_t clock, absl::Span<const double> partials);
  // (Re)connected: sends again what `server` may lack.
  void OnServerConnected(int server);

  // ---- Control.
  // InvalidArgument, FailedPrecondition (fenced).
  absl::StatusOr<control::TickAck> Tick(const control::Tick& tick);
  absl::StatusOr<control::OrderAnswer> ProposeOrder(
      const control::ProposeOrderRequest& request);
  void WorkerGone(int rank, uint32_t incarnation);
  // Declared dead, and no newer incarnation has come.
  bool IsGone(int rank) const { return ValidRank(rank) && workers_[rank].gone; }
  // Loads a slot of a chunk from a checkpoint; `last`: the chunk opens.
  void Restore(uint32_t chunk, int slot, absl::Span<const float> floats,
               bool last);
  control::ShardStatusResponse Status() const;

  const ps::SlabLayout& layout() const { return layout_; }
  const ShardOptions& options() const { return options_; }
  const ShardCounters& counters() const { return counters_; }
  int num_history() const { return update_->rule().num_history(); }
  const std::vector<ChunkState>& chunks() const { return table_.chunks(); }
  bool exchanges_norms() const { return norms_ != nullptr; }
  int64_t bytes() const { return table_.bytes(); }
  int64_t min_clock() const { return clocks_.min(); }
  int64_t done(int rank) const { return clocks_.done(rank); }
  // Over chunks; -1 while one is not initialised.
  int64_t min_version() const;
  int64_t max_version() const;

 private:
  struct Worker {
    uint32_t incarnation = 0;
    PeerId peer = 0;
    bool subscribed = false;
    bool gone = false;
    int64_t due_from = 0;  // first clock to which it contributes
  };

  Shard(ps::SlabLayout layout, ShardOptions options,
        std::unique_ptr<ChunkUpdate> update, LearningRatePolicy rates,
        ShardOutput& output);

  // Closing clocks (shard.cc).
  bool Required(int rank, int64_t clock) const;
  bool AllIn(const ChunkState& chunk) const;
  void Advance(ChunkState& chunk);
  void AdvanceAll();
  bool AdvanceNormed();
  void Sum(ChunkState& chunk);
  void Apply(ChunkState& chunk, const UpdateScales& scales);
  void AddNorms(ChunkState& chunk);
  void Opened(ChunkState& chunk, int64_t version);
  void Publish(ChunkState& chunk);
  void KeepCut(ChunkState& chunk);
  void AdvanceEmpty();
  void SendEagerly(ChunkState& chunk, int rank);
  void DecideLoss();
  void SendOwnNorms(int64_t clock);
  void SendOwnNorms(int server, int64_t clock);
  int64_t OpenedClock() const;

  // Requests (shard_requests.cc).
  bool ValidRank(int rank) const {
    return rank >= 0 && rank < options_.workers;
  }
  ps::Reason Raise(int rank, uint32_t incarnation);
  void Forget(int rank);
  void FillSlot(ChunkState& chunk, int slot, absl::Span<const float> floats);
  void Reply(PeerId peer, const ps::MessageHeader& request, ps::Reason reason);
  void Answer(PeerId peer, const ChunkState& chunk, uint32_t sequence);
  void ReleaseExact(ChunkState& chunk);
  ps::MessageHeader ValuesHeader(const ChunkState& chunk) const;

  const ps::SlabLayout layout_;
  const ShardOptions options_;
  const std::unique_ptr<ChunkUpdate> update_;
  const LearningRatePolicy rates_;
  ShardOutput& output_;
  ChunkTable table_;
  VectorClock clocks_;
  OrderBook orders_;
  CutKeeper cuts_;
  // Null: no clipping, LARS or plateau, or no gradients here.
  std::unique_ptr<NormExchange> norms_;
  std::optional<PlateauTracker> plateau_;
  LossBook losses_;
  std::vector<UpdateSegment> blobs_;     // the whole model, for the norms
  std::vector<Worker> workers_;
  std::vector<double> partials_;  // scratch
  int64_t empty_version_;         // of a shard without chunks
  ShardCounters counters_;
};

}  // namespace cssp

#endif  // CSSP_SERVER_SHARD_SHARD_H_
