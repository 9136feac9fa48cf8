// The parameters' home when there is no service: this process, which updates
// its own slab by the rules that the servers use, to the same bits.
#ifndef CSSP_WORKER_SOLVER_LOCAL_SYNC_H_
#define CSSP_WORKER_SOLVER_LOCAL_SYNC_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/device/device.h"
#include "common/optim/chunk_update.h"
#include "common/optim/learning_rate_policy.h"
#include "common/optim/plateau.h"
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
    return absl::MakeSpan(history_[slot].floats(), net_.weights().size());
  }
  void set_policy(LearningRatePolicy policy) { policy_ = std::move(policy); }
  void set_next_clock(int64_t clock) { next_clock_ = clock; }

  // The mean loss of a clock, before its update: lr_policy plateau follows it.
  void ObserveLoss(int64_t clock, float loss);
  float Rate(int64_t clock) const {
    return policy_.Rate(clock, plateau_ ? plateau_->state().step : 0);
  }
  // Without plateau an empty state, and ignored.
  PlateauState plateau() const {
    return plateau_ ? plateau_->state() : PlateauState();
  }
  void RestorePlateau(const PlateauState& state) {
    if (plateau_) plateau_->Restore(state);
  }

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
            std::unique_ptr<ChunkUpdate> update,
            std::optional<PlateauTracker> plateau, float clip_gradients);
  absl::Status AllocateHistory();
  UpdateScales Scales(absl::Span<const float> mean) const;
  // `piece`: of the slab.
  void UpdatePiece(const UpdateStep& step, const UpdateScales& scales,
                   UpdateSegment piece, const float* mean, float* scratch);

  Net& net_;
  LearningRatePolicy policy_;
  const std::unique_ptr<ChunkUpdate> update_;
  std::optional<PlateauTracker> plateau_;
  const float clip_gradients_;           // for the log
  std::vector<UpdateSegment> segments_;  // one a blob, offsets in the slab
  std::vector<UpdateSegment> pieces_;    // of them, dealt to the threads
  std::unique_ptr<Device> host_;         // where history lies
  std::vector<Buffer> history_;
  std::vector<float> scratch_;  // a piece for each thread
  std::vector<bool> fresh_;     // per param: changed since last read
  int64_t next_clock_ = 0;
};

}  // namespace cssp

#endif  // CSSP_WORKER_SOLVER_LOCAL_SYNC_H_
