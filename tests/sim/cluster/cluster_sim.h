// A whole training cluster in one thread and virtual time: logical workers,
// each with the real ParamCache, against real Shards; every read is held
// against the contract.
#ifndef CSSP_TESTS_SIM_CLUSTER_CLUSTER_SIM_H_
#define CSSP_TESTS_SIM_CLUSTER_CLUSTER_SIM_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/shard/shard.h"
#include "tests/sim/cluster/event_queue.h"
#include "worker/sync/param_cache.h"

namespace cssp {

// A clock's gradient of one chunk: reads the weights that the worker has
// installed, fills the chunk's floats.
using SimGradient = std::function<void(int rank, int64_t clock, int chunk,
                                       absl::Span<const float> weights,
                                       absl::Span<float> gradient)>;

struct SimConfig {
  uint64_t seed = 1;
  int workers = 2;
  int servers = 1;
  int chunks = 1;
  int staleness = 0;
  int64_t clocks = 4;
  NetworkFaults faults;
  double retry_after = 5;  // of unanswered requests
  bool clip = false;
  int snapshot = 0;    // durable cuts every so many clocks
  int dead_rank = -1;  // dies at `dies_at`
  double dies_at = 0;
  double noticed_after = 1;  // the lease
  bool membership_order = false;
  int reconnects = 0;  // at random times, of random workers
  bool per_push = false;
  bool lazy = false;   // values come when they are asked for
  double latency = 0;  // of values: sent until they are there
  int uneven = 0;      // rank r ends r % (uneven + 1) clocks early
  // Seconds of compute of (rank, clock).
  std::function<double(int, int64_t)> duration;
  // Null: numbers of the simulator's own, whose sums it knows.
  SimGradient gradient;
  // What else the shards are to be; called last.
  std::function<void(ShardOptions*)> shard;
  // Called for each read of a chunk, with the installed weights.
  std::function<void(int rank, int64_t clock, int chunk,
                     absl::Span<const float> weights)>
      on_read;

  std::string ToString() const;
};

struct SimStats {
  double seconds = 0;                  // until the last worker was done
  double waited = 0, computed = 0;     // over all workers
  std::map<int64_t, int64_t> reads;    // by clock - version
  int64_t blocked_reads = 0;           // that the rule demanded
  int64_t pulls = 0;                   // sent
  int64_t values = 0;                  // arrived at a worker
  std::vector<std::pair<double, int64_t>> progress;  // time, clocks of all
};

// Thread-confined.
class ClusterSim {
 public:
  static constexpr int64_t kChunkFloats = 2112;

  explicit ClusterSim(const SimConfig& config);
  ~ClusterSim();

  // Runs to the end; the first violation of the contract, or empty.
  std::string Run();
  double seconds() const { return stats_.seconds; }
  const SimStats& stats() const { return stats_; }
  // Of a chunk's values at the end.
  absl::Span<const float> values(int chunk) const;

 private:
  class Server;
  struct PendingPush {
    int chunk;
    int64_t clock;
    int64_t based_on;
    std::vector<float> gradient;
  };
  struct Worker {
    bool alive = true;
    bool finished = false;
    bool blocked = false;  // in the read of `clock`
    int64_t clock = 0;
    int64_t end = 0;  // clocks that it trains
    double began = 0;  // the read of `clock`
    PeerId peer = 0;
    std::vector<float> slab;
    std::unique_ptr<ParamCache> cache;
    std::map<uint32_t, PendingPush> unacked;  // by sequence
  };

  void Fail(const std::string& what);
  // Workers.
  void BeginClock(int rank);
  void TryRead(int rank);
  bool Fit(int rank, int chunk, int64_t clock) const;
  void SendPull(int rank, int chunk, int64_t clock);
  void Compute(int rank);
  void EndClock(int rank);
  void SendPush(int rank, uint32_t sequence);
  void OnValues(int rank, PeerId peer, const ps::MessageHeader& header,
                const BufferRef& values, uint64_t as_sent);
  void OnReply(int rank, const ps::MessageHeader& header);
  void Connect(int rank);
  void Die(int rank);
  void OrderMembership(int dead);
  // Checks (cluster_checks.cc).
  bool Exact() const {  // whether it is known what values must be
    return !config_.gradient && config_.dead_rank < 0 && !config_.clip &&
           config_.uneven == 0 && !config_.shard;
  }
  void FillGradient(int rank, const PendingPush& push,
                    absl::Span<float> out) const;
  void CheckRead(int rank, int chunk);
  void CheckPerPushRead(int rank, int chunk);
  void CheckCut(const Shard& shard, const RetainedCut& cut);
  void CheckBlocked(int rank);
  void CheckShard(Server& server);
  void CheckDone(const Shard& shard, const ChunkState& chunk, int rank);
  void CheckEnd();
  float Gradient(int rank, int64_t clock, int chunk) const;
  float Expected(int chunk, int64_t version);

  ps::MessageHeader Header(ps::MessageType type, int rank, int chunk,
                           int64_t clock);
  Server& ServerOf(int chunk) { return *servers_[chunk % config_.servers]; }
  // A worker's installed weights of a chunk.
  absl::Span<const float> Weights(int rank, int chunk) const;

  const SimConfig config_;
  const ps::SlabLayout layout_;
  SimRandom random_;
  EventQueue queue_;
  SimNetwork network_;
  std::vector<std::unique_ptr<Server>> servers_;
  std::vector<Worker> workers_;
  std::vector<std::vector<float>> expected_;       // [chunk][version]
  std::map<std::pair<int, int64_t>, float> read_;  // with a dead worker
  std::string failure_;
  uint32_t sequence_ = 0;
  PeerId last_peer_ = 0;
  SimStats stats_;
};

// One shard and its way to the workers and the other shards.
class ClusterSim::Server : public ShardOutput {
 public:
  Server(ClusterSim& sim, int index) : sim_(sim), index_(index) {}

  void Open(const ps::SlabLayout& layout, ShardOptions options);
  Shard& shard() { return *shard_; }

  void SendValues(PeerId peer, const ps::MessageHeader& header,
                  BufferRef values) override;
  void SendReply(PeerId peer, const ps::MessageHeader& header) override;
  void SendNorms(int server, int64_t clock,
                 std::vector<double> partials) override;
  void SendContributors(int, int64_t, std::vector<int32_t>) override {}
  void CutReady(const RetainedCut& cut) override;

 private:
  int RankOf(PeerId peer) const { return peer % sim_.config_.workers; }

  ClusterSim& sim_;
  const int index_;
  std::unique_ptr<Shard> shard_;
};

}  // namespace cssp

#endif  // CSSP_TESTS_SIM_CLUSTER_CLUSTER_SIM_H_
