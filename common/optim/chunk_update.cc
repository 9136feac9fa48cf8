#include "common/optim/chunk_update.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/optim/rules.h"

namespace cssp {
absl::StatusOr<std::unique_ptr<ChunkUpdate>> ChunkUpdate::Create(
    const caffe::SolverParameter& solver) {
  if (solver.iter_size() < 1)
    return absl::InvalidArgumentError(
        absl::StrCat("iter_size must be at least 1, not ", solver.iter_size()));
  RETURN_IF_ERROR(CheckRange("lars_eta", solver.lars_eta(), 0, 1e6f));
  ASSIGN_OR_RETURN(std::unique_ptr<UpdateRule> rule,
                   UpdateRule::Create(solver));
  ASSIGN_OR_RETURN(Regularizer regularizer, Regularizer::Create(solver));
  return std::unique_ptr<ChunkUpdate>(
      new ChunkUpdate(std::move(rule), regularizer, solver));
}

absl::Status ChunkUpdate::CheckSeparable() const {
  if (rule_->linear() && lars_eta_ <= 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "ssp_update PER_PUSH applies workers one by one: that needs a solver "
      "linear in the gradient (SGD or Nesterov, without LARS), not ",
      rule_->linear() ? "LARS" : rule_->type(), "; use PER_CLOCK"));
}

void ChunkUpdate::NormPartials(absl::Span<const UpdateSegment> segments,
                               absl::Span<const float> weights,
                               absl::Span<const float> mean, int64_t block,
                               std::vector<double>* partials) const {
  for (const UpdateSegment& segment : segments) {
    if (segment.statistic) continue;
    const int64_t end = segment.offset + segment.count;
    for (int64_t at = segment.offset; at < end; at += block) {
      const int64_t count = std::min(block, end - at);
      SquaredNormPartials(mean.subspan(at, count), block, partials);
      if (lars_eta_ > 0)
        SquaredNormPartials(weights.subspan(at, count), block, partials);
    }
  }
}

UpdateScales ChunkUpdate::Scales(absl::Span<const UpdateSegment> blobs,
                                 int64_t block,
                                 absl::Span<const double> partials) const {
  UpdateScales scales;
  const size_t width = norms_per_block();
  double sum = 0;
  for (size_t i = 0; i < partials.size(); i += width) sum += partials[i];
  scales.norm = static_cast<float>(std::sqrt(sum));
  scales.clip = ClipFactor(sum, clip_);
  if (lars_eta_ <= 0) return scales;
  const double* partial = partials.data();
  for (const UpdateSegment& blob : blobs) {
    double gradient = 0, weights = 0;
    const int64_t blocks =
        blob.statistic ? 0 : (blob.count + block - 1) / block;
    for (int64_t b = 0; b < blocks; ++b) {
      gradient += *partial++;
      weights += *partial++;
    }
    scales.rates.push_back(LarsRate(blob, scales.clip, gradient, weights));
  }
  return scales;
}

UpdateScales ChunkUpdate::ClipScales(double squared_norm) const {
  UpdateScales scales;
  scales.norm = static_cast<float>(std::sqrt(squared_norm));
  scales.clip = ClipFactor(squared_norm, clip_);
  return scales;
}

float ChunkUpdate::LarsRate(const UpdateSegment& blob, float clip,
                            double squared_gradient,
                            double squared_weights) const {
  const double w = std::sqrt(squared_weights);
  const double g = std::sqrt(squared_gradient) * (clip * iter_scale_);
  const double decay = double{weight_decay_} * blob.multipliers.decay_mult;
  if (!(w > 0 && g > 0)) return 1.0f;
  return static_cast<float>(lars_eta_ * w / (g + decay * w));
}

void ChunkUpdate::Apply(const UpdateStep& whole, const UpdateScales& scales,
                        absl::Span<const UpdateSegment> segments,
                        absl::Span<const float> weights_in,
                        absl::Span<float> weights_out,
                        absl::Span<float* const> history,
                        absl::Span<const float> mean) const {
  const float scale = scales.clip * iter_scale_;
  UpdateStep step = whole;
  step.rate *= whole.share;
  absl::InlinedVector<float*, 4> slots(history.size());
  for (const UpdateSegment& segment : segments) {
    if (segment.statistic) {
      ApplyStatistic(step.share, segment, weights_in, weights_out, mean);
      continue;
    }
    BlobMultipliers multipliers = segment.multipliers;
    if (!scales.rates.empty())
      multipliers.lr_mult *= scales.rates[segment.blob];
    const int64_t at = segment.offset, count = segment.count;
    for (size_t k = 0; k < history.size(); ++k) slots[k] = history[k] + at;
    rule_->Apply(step, multipliers, regularizer_.Form(scale, multipliers),
                 {.weights_in = weights_in.subspan(at, count),
                  .weights_out = weights_out.subspan(at, count),
                  .history = slots,
                  .gradient = mean.subspan(at, count)});
  }
}

void ChunkUpdate::ApplyStatistic(float share, const UpdateSegment& segment,
                                 absl::Span<const float> weights_in,
                                 absl::Span<float> weights_out,
                                 absl::Span<const float> mean) const {
  float fraction = segment.moving_average_fraction;
  if (share != 1) fraction = std::pow(fraction, share);
  const float scale = share * iter_scale_;
  const int64_t end = segment.offset + segment.count;
  for (int64_t i = segment.offset; i < end; ++i)
    weights_out[i] = fraction * weights_in[i] + mean[i] * scale;
}

}  // namespace cssp
