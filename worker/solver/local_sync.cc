#include "worker/solver/local_sync.h"

#include <algorithm>
#include <utility>

#include "common/base/status_macros.h"
#include "common/ps/slab_layout.h"

namespace cssp {
namespace {

// Floats updated at a time: gradient, weights and history stay in cache.
constexpr int64_t kPiece = 4 * ps::SlabLayout::kBlock;

UpdateSegment SegmentOf(const NetParam& param) {
  return {.offset = param.offset,
          .count = param.shape.count(),
          .multipliers = {param.lr_mult, param.decay_mult},
          .statistic = param.kind == ParamKind::kStatistic,
          .moving_average_fraction = param.moving_average_fraction};
}

}  // namespace

absl::StatusOr<std::unique_ptr<LocalSync>> LocalSync::Create(
    const caffe::SolverParameter& solver, Net& net) {
  ASSIGN_OR_RETURN(LearningRatePolicy policy,
                   LearningRatePolicy::Create(solver));
  ASSIGN_OR_RETURN(std::unique_ptr<ChunkUpdate> update,
                   ChunkUpdate::Create(solver));
  return std::unique_ptr<LocalSync>(
      new LocalSync(net, std::move(policy), std::move(update)));
}

LocalSync::LocalSync(Net& net, LearningRatePolicy policy,
                     std::unique_ptr<ChunkUpdate> update)
    : net_(net), policy_(std::move(policy)), update_(std::move(update)) {
  for (const NetParam& param : net_.params())
    segments_.push_back(SegmentOf(param));
  history_.resize(update_->rule().num_history());
  for (std::vector<float>& slot : history_) slot.resize(net_.weights().size());
  scratch_.resize(kPiece);
  fresh_.resize(net_.params().size(), true);
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
  const UpdateStep step{.rate = policy_.Rate(clock), .update = clock};
  const float clip_scale = ClipScale(mean);
  for (const UpdateSegment& segment : segments_)
    UpdateBlob(step, clip_scale, segment, mean);
  std::fill(fresh_.begin(), fresh_.end(), true);
  next_clock_ = clock + 1;
  return absl::OkStatus();
}

float LocalSync::ClipScale(absl::Span<const float> mean) const {
  if (!update_->clips()) return 1.0f;
  std::vector<double> partials;
  update_->NormPartials(segments_, mean, ps::SlabLayout::kBlock, &partials);
  return update_->ClipScale(partials);
}

void LocalSync::UpdateBlob(const UpdateStep& step, float clip_scale,
                               const UpdateSegment& segment,
                               absl::Span<const float> mean) {
  for (int64_t done = 0; done < segment.count; done += kPiece) {
    UpdateSegment piece = segment;
    piece.offset = 0;
    piece.count = std::min(kPiece, segment.count - done);
    const int64_t at = segment.offset + done;
    // A copy: where no gradient is computed (lr_mult 0) the slab must stay 0.
    const float* part = mean.data() + at;
    const auto gradient = absl::MakeSpan(scratch_).first(piece.count);
    SumParts(absl::MakeConstSpan(&part, 1), 1.0f, gradient);
    std::vector<float*> history;
    for (std::vector<float>& slot : history_) history.push_back(&slot[at]);
    const auto weights = net_.weights().subspan(at, piece.count);
    update_->Apply(step, clip_scale, absl::MakeConstSpan(&piece, 1), weights,
                   weights, history, gradient);
  }
}

}  // namespace cssp
