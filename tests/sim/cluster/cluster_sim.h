// A whole training cluster in one thread and virtual time: logical workers
// against real Shards, every read held against the contract.
#ifndef CSSP_TESTS_SIM_CLUSTER_CLUSTER_SIM_H_
#define CSSP_TESTS_SIM_CLUSTER_CLUSTER_SIM_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/shard/shard.h"
#include "tests/sim/cluster/event_queue.h"

namespace cssp {

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
  // Seconds of compute of (rank, clock).
  std::function<double(int, int64_t)> duration;

  std::string ToString() const;
};

// Thread-confined.
class ClusterSim {
 public:
  explicit ClusterSim(const SimConfig& config);
  ~ClusterSim();

  // Runs to the end; the first violation of the contract, or empty.
  std::string Run();
  double seconds() const { return finished_at_; }
  // Reads by clock - version.
  const std::map<int64_t, int64_t>& staleness_seen() const { return seen_; }
  int64_t blocked_reads() const { return blocked_reads_; }

 private:
  class Server;
  struct PendingPush {
    int chunk;
    int64_t clock;
    int64_t based_on;
  };
  struct Worker {
    bool alive = true;
    bool finished = false;
    bool blocked = false;  // in the read of `clock`
    int64_t clock = 0;
    PeerId peer = 0;
    std::vector<int64_t> version;  // newest arrived, per chunk
    std::vector<float> value;
    std::map<uint32_t, PendingPush> unacked;  // by sequence
  };

  void Fail(const std::string& what);
  // Workers.
  void BeginClock(int rank);
  void TryRead(int rank);
  void SendPull(int rank, int chunk, int64_t clock);
  void Compute(int rank);
  void EndClock(int rank);
  void SendPush(int rank, uint32_t sequence);
  void OnValues(int rank, PeerId peer, const ps::MessageHeader& header,
                const BufferRef& values, float as_sent);
  void OnReply(int rank, const ps::MessageHeader& header);
  void Connect(int rank);
  void Die(int rank);
  void OrderMembership(int dead);
  // Checks.
  void CheckRead(int rank, int chunk);
  void CheckBlocked(int rank);
  void CheckShard(Server& server);
  void CheckDone(const Shard& shard, const ChunkState& chunk, int rank);
  float Gradient(int rank, int64_t clock, int chunk) const;
  float Expected(int chunk, int64_t version);

  ps::MessageHeader Header(ps::MessageType type, int rank, int chunk,
                           int64_t clock);
  Server& ServerOf(int chunk) { return *servers_[chunk % config_.servers]; }

  const SimConfig config_;
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
  double finished_at_ = 0;
  std::map<int64_t, int64_t> seen_;
  int64_t blocked_reads_ = 0;
};

}  // namespace cssp

#endif  // CSSP_TESTS_SIM_CLUSTER_CLUSTER_SIM_H_
