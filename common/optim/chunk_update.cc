#include "common/optim/chunk_update.h"

#include <algorithm>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

// Floats: weights, gradient and two histories of a stripe fit in 256 KiB.
constexpr int64_t kStripe = 8192;

}  // namespace

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
    if (segment.statistic) {
      ApplyStatistic(segment, weights_in, weights_out, mean);
      continue;
    }
    // Decay and rule take turns stripe by stripe, while a stripe is in cache.
    const int64_t end = segment.offset + segment.count;
    for (int64_t at = segment.offset; at < end; at += kStripe) {
      const int64_t count = std::min(kStripe, end - at);
      const auto in = weights_in.subspan(at, count);
      const auto gradient = mean.subspan(at, count);
      for (size_t k = 0; k < history.size(); ++k) slots[k] = history[k] + at;
      regularizer_.Apply(scale, segment.multipliers, in, gradient);
      rule_->Apply(step, segment.multipliers, in,
                   weights_out.subspan(at, count), slots, gradient);
    }
  }
}

void ChunkUpdate::ApplyStatistic(const UpdateSegment& segment,
                                 absl::Span<const float> weights_in,
                                 absl::Span<float> weights_out,
                                 absl::Span<const float> mean) const {
  const float fraction = segment.moving_average_fraction;
  const int64_t end = segment.offset + segment.count;
  for (int64_t i = segment.offset; i < end; ++i)
    weights_out[i] = fraction * weights_in[i] + mean[i] * iter_scale_;
}

}  // namespace cssp
