// The parameters' home when there is no service: this process, which updates
// its own slab by the rules that the servers use, to the same bits.
#ifndef CSSP_WORKER_SOLVER_LOCAL_SYNC_H_
#define CSSP_WORKER_SOLVER_LOCAL_SYNC_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/optim/chunk_update.h"
#include "common/optim/learning_rate_policy.h"
#include "proto/caffe.pb.h"
#include "worker/net/net.h"
#include "worker/sync/parameter_sync.h"

namespace cssp {

// Thread-confined: the training thread.  Borrows the net.
//
// Invariant: with one worker at s = 0 a parameter service gives the same
// weights bit for bit: both call ChunkUpdate.
class LocalSync final : public ParameterSync {
 public:
  // Works on the net's slabs in host memory, on any device.
  static absl::StatusOr<std::unique_ptr<LocalSync>> Create(
      const caffe::SolverParameter& solver, Net& net);

  // Applies mean gradients of clock `clock` to the net's slab: EndClock calls
  // it with the net's own.  `mean` has the slab's layout and is only read.
  absl::Status Update(int64_t clock, absl::Span<const float> mean);

  int num_history() const { return static_cast<int>(history_.size()); }
  // Slab-shaped.
  absl::Span<float> history(int slot) {
    return absl::MakeSpan(history_[slot]);
  }
  void set_next_clock(int64_t clock) { next_clock_ = clock; }

  int64_t next_clock() const override { return next_clock_; }
  absl::Status BeginClock(int64_t clock) override { return absl::OkStatus(); }
  absl::Status AwaitWeights(int first, int count, int64_t clock,
                            bool* changed) override;
  absl::Status AwaitGradientSlot(int64_t clock) override {
    return absl::OkStatus();
  }
  void GradientReady(int param, int64_t clock) override {}
  absl::Status EndClock(const ClockSummary& summary) override;
  LoopOrder order() override { return LoopOrder::kContinue; }
  absl::Status Finish() override { return absl::OkStatus(); }

 private:
  LocalSync(Net& net, LearningRatePolicy policy,
            std::unique_ptr<ChunkUpdate> update);
  float ClipScale(absl::Span<const float> mean) const;
  void UpdateBlob(const UpdateStep& step, float clip_scale,
                      const UpdateSegment& segment,
                      absl::Span<const float> mean);

  Net& net_;
  const LearningRatePolicy policy_;
  const std::unique_ptr<ChunkUpdate> update_;
  std::vector<UpdateSegment> segments_;  // one a blob, offsets in the slab
  std::vector<std::vector<float>> history_;
  std::vector<float> scratch_;           // one piece
  std::vector<bool> fresh_;              // per param: changed since last read
  int64_t next_clock_ = 0;
};

}  // namespace cssp

#endif  // CSSP_WORKER_SOLVER_LOCAL_SYNC_H_
