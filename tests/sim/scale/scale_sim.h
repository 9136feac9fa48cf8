// A training cluster of any size in virtual time: the real Shard decides when a
// clock closes and who may read, the real ParamCache which version a worker
// uses; links and computing are models.
#ifndef CSSP_TESTS_SIM_SCALE_SCALE_SIM_H_
#define CSSP_TESTS_SIM_SCALE_SCALE_SIM_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "common/ps/slab_layout.h"
#include "server/shard/shard.h"
#include "tests/sim/cluster/event_queue.h"
#include "tests/sim/scale/link_model.h"
#include "tests/sim/scale/net_profile.h"
#include "worker/sync/param_cache.h"

namespace cssp {

struct ScaleConfig {
  NetProfile net;
  ClusterShape shape;
  int staleness = 0;
  int64_t clocks = 8;
  // Computing takes 1 + jitter * Exp(1) times as long, drawn per (rank, clock).
  double jitter = 0;
  uint64_t seed = 1;
};

// Factor by which `rank` is slower in `clock`.
double ComputeFactor(const ScaleConfig& config, int rank, int64_t clock);

// Thread-confined.  A stage of the net is one chunk of the shard: a few floats
// travel, and the link model is told the bytes they stand for.
class ScaleSim : private ShardOutput {
 public:
  explicit ScaleSim(ScaleConfig config);
  ~ScaleSim() override;

  // Seconds a clock, from read to read, without the first two.  Dies if the contract is broken.
  double Run();
  // Reads by clock - version.
  const std::vector<int64_t>& staleness_seen() const { return seen_; }

 private:
  struct PendingPush {
    int chunk = 0;
    int64_t clock = 0;
    int64_t based_on = 0;
  };
  struct Worker {
    std::deque<PendingPush> unsent;
    int sending = 0;
    std::vector<float> slab;
    std::unique_ptr<ParamCache> cache;
    int64_t clock = 0;
    int stage = 0;          // forward: awaited next
    bool blocked = false;
    int64_t based_on = 0;   // oldest version read in this clock
    double warm_at = 0, last_at = 0;  // all read in clock 2, in the last
  };

  // ShardOutput.
  void SendValues(PeerId peer, const ps::MessageHeader& header,
                  BufferRef values) override;
  void SendReply(PeerId peer, const ps::MessageHeader& header) override;
  void SendNorms(int, int64_t, std::vector<double>) override {}
  void SendContributors(int, int64_t, std::vector<int32_t>) override {}
  void CutReady(const RetainedCut&) override {}

  ps::MessageHeader Header(ps::MessageType type, int rank, int chunk) const;
  int ChunkOf(int stage) const { return stages() - 1 - stage; }
  int stages() const { return static_cast<int>(config_.net.stages.size()); }
  double Bytes(int chunk) const {
    return config_.net.stages[ChunkOf(chunk)].bytes;
  }
  // A version reaches a worker's cache.
  void Land(int rank, int chunk, const ps::Freshness& fresh,
            absl::Span<const float> values);
  void Start(int rank);
  void Forward(int rank);
  void Backward(int rank);
  void Pump(int rank);
  void EndClock(int rank);

  const ScaleConfig config_;
  EventQueue queue_;
  LinkModel links_;
  ps::SlabLayout layout_;
  std::unique_ptr<Shard> shard_;
  std::vector<Worker> workers_;
  std::vector<int64_t> seen_;
  int running_ = 0;
};

// Seconds a clock of data-parallel training over a ring: gradients are reduced
// stage by stage while backward still runs, and all wait for all.
double RingSecondsPerClock(const ScaleConfig& config);

}  // namespace cssp

#endif  // CSSP_TESTS_SIM_SCALE_SCALE_SIM_H_
