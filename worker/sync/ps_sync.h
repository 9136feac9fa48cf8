// The parameters' home when there is a service: gradients leave chunk by chunk
// during backward, weights are awaited layer by layer in forward, ticks close
// each clock at every shard.
#ifndef CSSP_WORKER_SYNC_PS_SYNC_H_
#define CSSP_WORKER_SYNC_PS_SYNC_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "common/base/time_source.h"
#include "common/ps/slab_layout.h"
#include "common/rpc/shard_client.h"
#include "proto/control.pb.h"
#include "worker/sync/fresh_budget.h"
#include "worker/sync/gradient_pipeline.h"
#include "worker/sync/job_session.h"
#include "worker/sync/metrics.h"
#include "worker/sync/param_cache.h"
#include "worker/sync/parameter_sync.h"
#include "worker/sync/ps_client.h"
#include "worker/sync/straggler.h"

namespace cssp {

// The net's slabs, in the layout's order; borrowed.
struct ParamSlabs {
  absl::Span<float> weights;
  std::array<absl::Span<const float>, 2> gradients;
};

struct PsSyncOptions {
  TransportOptions transport;
  SyncMetrics* metrics = nullptr;   // borrowed, may be null
  TimeSource* time = nullptr;       // borrowed, null: the machine's
  uint32_t samples = 1;             // a clock, as the net is built
};

// Thread-confined: the training thread; its parts are monitors.
class PsSync final : public ParameterSync, private PsClientEvents {
 public:
  // Connects to the servers of `declared`.  REQUIRES: the layout that was
  // declared, and `slabs` of its size.  The session is borrowed.
  static absl::StatusOr<std::unique_ptr<PsSync>> Create(
      JobSession& session, const control::DeclareLayoutResponse& declared,
      ps::SlabLayout layout, const ParamSlabs& slabs,
      const PsSyncOptions& options);
  ~PsSync() override;

  // Rank 0 of a job that is not initialised: sends the slab's weights and the
  // histories (none: zeros), and waits until every server holds them.
  absl::Status Initialise(absl::Span<const absl::Span<const float>> history);

  // Not OK once the service failed this worker, or called it back: what
  // training ended with is no error of the net's.
  absl::Status lost() const ABSL_LOCKS_EXCLUDED(mu_);

  // What carries the data plane, for the log.
  std::string Describe() const { return client_->Describe(); }
  // Share of run time spent waiting, and reads by staleness, so far.
  absl::Duration waited() const { return waited_; }
  absl::Duration ran() const { return ran_; }
  const std::vector<int64_t>& staleness_histogram() const {
    return histogram_;
  }

  int64_t next_clock() const override { return next_clock_; }
  absl::Status BeginClock(int64_t clock) override;
  absl::Status AwaitWeights(int first, int count, int64_t clock,
                            bool* changed) override;
  absl::Status AwaitGradientSlot(int64_t clock) override;
  void GradientReady(int param, int64_t clock) override;
  absl::Status EndClock(const ClockSummary& summary) override;
  LoopOrder order() override;
  absl::Span<const control::Order> memberships() const override {
    return memberships_;
  }
  void SetSamples(int64_t samples) override {
    samples_ = static_cast<uint32_t>(samples);
  }
  bool Leave() override;
  // By order: other workers train next_clock() without this one.
  bool let_go() const { return next_clock_ >= leaves_at_; }
  absl::Status Finish() override;

 private:
  PsSync(JobSession& session, ps::SlabLayout layout, const ParamSlabs& slabs,
         const PsSyncOptions& options);
  absl::Status Start(const control::DeclareLayoutResponse& declared);
  void SendChunk(int chunk, int64_t clock);
  bool HasStatistics(const ps::Chunk& chunk) const;
  void CountRead(const ParamCache::Read& read, int64_t clock);
  absl::Status Lost(absl::Status status);
  // Of a clock as the net is built: 1.
  double Work() const { return double{1} * samples_ / options_.samples; }
  absl::Status SendTicks(int64_t clock, bool finished, double loss);
  double SquaredNorm(int64_t clock) const;
  void ReportClock(const ClockSummary& summary, absl::Duration duration);
  absl::Duration MedianClock() const;
  void Fail(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);
  void TakeOrder(const control::Order& order);
  void Reached(int64_t version);

  // PsClientEvents, on the comm thread.
  float* OnValuesBegin(const ps::MessageHeader& header) override;
  void OnValuesEnd(const ps::MessageHeader& header, float* memory,
                   bool ok) override;
  void OnPushDone(int chunk, int64_t clock) override;
  void OnPullRefused(const ps::MessageHeader& header) override {}
  void OnLate(int64_t version) override { Reached(version); }
  void OnReconnect(int server) override;
  void OnFatal(const absl::Status& status) override { Fail(status); }

  JobSession& session_;
  const ps::SlabLayout layout_;
  const ParamSlabs slabs_;
  const PsSyncOptions options_;
  TimeSource& time_;
  const int rank_;
  FreshBudget fresh_;  // training thread
  const bool lazy_pull_;
  const bool backup_;
  const bool sends_norm_;               // PER_PUSH that clips
  // JobSpec.wire BF16: gradients as they travel, a slab a generation.
  std::array<std::vector<uint16_t>, 2> packed_;
  std::vector<int> chunk_server_;
  ParamCache cache_;
  GradientPipeline pipeline_;
  std::unique_ptr<Straggler> straggler_;
  std::vector<std::unique_ptr<ShardClient>> shards_;
  std::vector<std::unique_ptr<TickStream>> ticks_;
  std::vector<uint32_t> pushes_;        // of this clock, per server
  std::atomic<int64_t> clock_{0};       // being trained
  std::atomic<int64_t> reached_{0};     // newest version heard of, any chunk
  std::vector<ps::Freshness> lost_;     // comm thread: values refused

  mutable absl::Mutex mu_;
  absl::Status lost_why_ ABSL_GUARDED_BY(mu_);

  // Training thread.
  int64_t next_clock_ = 0, start_clock_ = 0;
  std::vector<control::Order> memberships_;
  uint64_t last_order_ = 0;  // highest number taken
  std::map<int64_t, int> staleness_from_;  // orders yet to take effect
  int64_t leaves_at_ = std::numeric_limits<int64_t>::max();
  bool jumped_ = false;  // clocks before next_clock_ were closed without us
  uint32_t samples_;  // of the clock
  absl::Time clock_begin_;
  absl::Duration clock_waited_, clock_injected_;
  int64_t clock_staleness_ = 0;
  absl::Duration waited_, ran_;
  std::deque<absl::Duration> durations_;  // of the last clocks
  std::vector<int64_t> histogram_;

  std::unique_ptr<PsClient> client_;    // last: its thread calls us
};

}  // namespace cssp

#endif  // CSSP_WORKER_SYNC_PS_SYNC_H_
