#include "common/optim/chunk_update.h"

#include <utility>

#include "absl/container/inlined_vector.h"
#include "common/base/status_macros.h"

namespace cssp {

absl::StatusOr<std::unique_ptr<ChunkUpdate>> ChunkUpdate::Create(
    const caffe::SolverParameter& solver) {
  if (solver.iter_size() < 1)
    return absl::InvalidArgumentError(
        absl::StrCat("iter_size must be at least 1, not ", solver.iter_size()));
  ASSIGN_OR_RETURN(std::unique_ptr<UpdateRule> rule,
                   UpdateRule::Create(solver));
  ASSIGN_OR_RETURN(Regularizer regularizer, Regularizer::Create(solver));
  return std::unique_ptr<ChunkUpdate>(
      new ChunkUpdate(std::move(rule), regularizer, solver.clip_gradients(),
                      solver.iter_size()));
}

void ChunkUpdate::NormPartials(absl::Span<const UpdateSegment> segments,
                               absl::Span<const float> mean, int64_t block,
                               std::vector<double>* partials) const {
  for (const UpdateSegment& segment : segments) {
    if (segment.statistic) continue;
    SquaredNormPartials(mean.subspan(segment.offset, segment.count), block,
                        partials);
  }
}

float ChunkUpdate::ClipScale(absl::Span<const double> partials) const {
  if (!clips()) return 1.0f;
  double sum = 0;
  for (double partial : partials) sum += partial;
  return ClipFactor(sum, clip_);
}

void ChunkUpdate::Apply(const UpdateStep& step, float clip_scale,
                        absl::Span<const UpdateSegment> segments,
                        absl::Span<const float> weights_in,
                        absl::Span<float> weights_out,
                        absl::Span<float* const> history,
                        absl::Span<float> mean) const {
  const float scale = clip_scale * iter_scale_;
  absl::InlinedVector<float*, 4> slots(history.size());
  for (const UpdateSegment& segment : segments) {
    const auto in = weights_in.subspan(segment.offset, segment.count);
    const auto out = weights_out.subspan(segment.offset, segment.count);
    const auto gradient = mean.subspan(segment.offset, segment.count);
    if (segment.statistic) {
      const float fraction = segment.moving_average_fraction;
      for (int64_t i = 0; i < segment.count; ++i)
        out[i] = fraction * in[i] + gradient[i] * iter_scale_;
      continue;
    }
    regularizer_.Apply(scale, segment.multipliers, in, gradient);
    for (size_t k = 0; k < history.size(); ++k)
      slots[k] = history[k] + segment.offset;
    rule_->Apply(step, segment.multipliers, in, out, slots, gradient);
  }
}

}  // namespace cssp
