#include "worker/solver/local_sync.h"

#include <omp.h>

#include <algorithm>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "common/base/status_macros.h"
#include "common/ps/slab_layout.h"
#include "worker/solver/training_log.h"

namespace cssp {
namespace {

// Floats updated at a time: gradient, weights and history stay in cache.
constexpr int64_t kPiece = 4 * ps::SlabLayout::kBlock;

UpdateSegment SegmentOf(const NetParam& param, int blob) {
  return {.offset = param.offset,
          .count = param.shape.count(),
          .multipliers = {param.lr_mult, param.decay_mult},
          .statistic = param.kind == ParamKind::kStatistic,
          .moving_average_fraction = param.moving_average_fraction,
          .blob = blob};
}

}  // namespace

absl::StatusOr<std::unique_ptr<LocalSync>> LocalSync::Create(
    const caffe::SolverParameter& solver, Net& net) {
  ASSIGN_OR_RETURN(LearningRatePolicy policy,
                   LearningRatePolicy::Create(solver));
  ASSIGN_OR_RETURN(std::unique_ptr<ChunkUpdate> update,
                   ChunkUpdate::Create(solver));
  std::optional<PlateauTracker> plateau;
  if (policy.follows_loss()) {
    ASSIGN_OR_RETURN(plateau, PlateauTracker::Create(solver));
  }
  auto sync = std::unique_ptr<LocalSync>(
      new LocalSync(net, std::move(policy), std::move(update), plateau,
                    solver.clip_gradients()));
  RETURN_IF_ERROR(sync->AllocateHistory());
  return sync;
}

LocalSync::LocalSync(Net& net, LearningRatePolicy policy,
                     std::unique_ptr<ChunkUpdate> update,
                     std::optional<PlateauTracker> plateau,
                     float clip_gradients)
    : net_(net),
      policy_(std::move(policy)),
      update_(std::move(update)),
      plateau_(std::move(plateau)),
      clip_gradients_(clip_gradients) {
  for (const NetParam& param : net_.params())
    segments_.push_back(SegmentOf(param, static_cast<int>(segments_.size())));
  for (const UpdateSegment& segment : segments_) {
    for (int64_t done = 0; done < segment.count; done += kPiece) {
      pieces_.push_back(segment);
      pieces_.back().offset += done;
      pieces_.back().count = std::min(kPiece, segment.count - done);
    }
  }
  fresh_.resize(net_.params().size(), true);
}

absl::Status LocalSync::AllocateHistory() {
  host_ = MakeCpuDevice(1);  // zeroed, on big pages
  for (int slot = 0; slot < update_->rule().num_history(); ++slot) {
    ASSIGN_OR_RETURN(Buffer buffer,
                     host_->Allocate(net_.weights().size() * sizeof(float)));
    history_.push_back(std::move(buffer));
  }
  return absl::OkStatus();
}

absl::Status LocalSync::AwaitWeights(int first, int count, int64_t clock,
                                     bool* changed) {
  *changed = false;
  for (int param = first; param < first + count; ++param) {
    *changed |= fresh_[param];
    fresh_[param] = false;
  }
  return absl::OkStatus();
}

absl::Status LocalSync::EndClock(const ClockSummary& summary) {
  return Update(summary.clock,
                net_.gradients(static_cast<int>(summary.clock % 2)));
}

absl::Status LocalSync::Update(int64_t clock, absl::Span<const float> mean) {
  const UpdateStep step{.rate = Rate(clock), .update = clock};
  const UpdateScales scales = Scales(mean);
  scratch_.resize(omp_get_max_threads() * kPiece);
  const auto pieces = static_cast<int64_t>(pieces_.size());
  // Element by element: the same bits for any number of threads.
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < pieces; ++i)
    UpdatePiece(step, scales, pieces_[i], mean.data(),
                scratch_.data() + omp_get_thread_num() * kPiece);
  std::fill(fresh_.begin(), fresh_.end(), true);
  next_clock_ = clock + 1;
  return absl::OkStatus();
}

void LocalSync::ObserveLoss(int64_t clock, float loss) {
  if (plateau_) plateau_->Observe(clock, loss);
}

UpdateScales LocalSync::Scales(absl::Span<const float> mean) const {
  if (!update_->needs_norms()) return UpdateScales();
  constexpr int64_t kBlock = ps::SlabLayout::kBlock;
  std::vector<double> partials;
  update_->NormPartials(segments_, net_.weights(), mean, kBlock, &partials);
  UpdateScales scales = update_->Scales(segments_, kBlock, partials);
  if (scales.clip < 1) LogClipping(scales.norm, clip_gradients_, scales.clip);
  return scales;
}

void LocalSync::UpdatePiece(const UpdateStep& step, const UpdateScales& scales,
                            UpdateSegment piece, const float* mean,
                            float* scratch) {
  const int64_t at = std::exchange(piece.offset, 0);
  // A copy: where no gradient is computed (lr_mult 0) the slab must stay 0.
  const float* part = mean + at;
  const auto gradient = absl::MakeSpan(scratch, piece.count);
  SumParts(absl::MakeConstSpan(&part, 1), 1.0f, gradient);
  absl::InlinedVector<float*, 2> history;
  for (const Buffer& slot : history_) history.push_back(slot.floats() + at);
  const auto weights = net_.weights().subspan(at, piece.count);
  update_->Apply(step, scales, absl::MakeConstSpan(&piece, 1), weights, weights,
                 absl::MakeSpan(history), gradient);
}

}  // namespace cssp
