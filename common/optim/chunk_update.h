// One clock's update of one chunk: what a shard does to its chunks and what a
// single process does to the whole slab, in one place, so the bits agree.
#ifndef CSSP_COMMON_OPTIM_CHUNK_UPDATE_H_
#define CSSP_COMMON_OPTIM_CHUNK_UPDATE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/optim/update_rule.h"
#include "proto/caffe.pb.h"

namespace cssp {

// A blob's part of a chunk.
struct UpdateSegment {
  int64_t offset = 0;  // floats from the chunk's start
  int64_t count = 0;
  BlobMultipliers multipliers;
  bool statistic = false;             // moving average, not gradient
  float moving_average_fraction = 0;  // statistic only
  int blob = 0;                       // in the model's key order
};

// What the norms over the whole model decide.  The defaults change nothing.
struct UpdateScales {
  float clip = 1;            // of the gradient, before 1/iter_size and decay
  float norm = 0;            // the gradient's, where it was measured
  std::vector<float> rates;  // of lr_mult, one a blob: LARS; empty: all 1
};

// Immutable.  The order inside one update is BVLC's: (clip factor,
// 1/iter_size), decay, rule.  Statistics skip all of it:
//   value = fraction * value + mean / iter_size.
// LARS scales each blob's rate, g being the gradient just before decay:
//   lars_eta * |w| / (|g| + weight_decay * decay_mult * |w|),
// or 1 where |w| or |g| is 0 (a bias that starts at 0 still learns).
// A step's `share` x < 1 is one worker's part of a clock (PER_PUSH): the rate,
// and with it decay, is multiplied by x, and statistics do
//   value = fraction^x * value + x * mean / iter_size.
class ChunkUpdate {
 public:
  static absl::StatusOr<std::unique_ptr<ChunkUpdate>> Create(
      const caffe::SolverParameter& solver);

  const UpdateRule& rule() const { return *rule_; }
  // InvalidArgument unless a clock may be applied worker by worker: a rule that
  // is linear in the gradient, and no LARS.
  absl::Status CheckSeparable() const;
  // Whether norms over all chunks are needed before any Apply: clip_gradients
  // or LARS.
  bool needs_norms() const { return clip_ >= 0 || lars_eta_ > 0; }
  // Doubles per block in NormPartials: the gradient's, with LARS followed by
  // the weights'.
  int norms_per_block() const { return lars_eta_ > 0 ? 2 : 1; }

  // Appends the squared-norm partials of a chunk, norms_per_block() doubles
  // per `block` floats of each segment, in order; statistics have none.
  // REQUIRES: segments begin on multiples of `block` of their blob.
  void NormPartials(absl::Span<const UpdateSegment> segments,
                    absl::Span<const float> weights,
                    absl::Span<const float> mean, int64_t block,
                    std::vector<double>* partials) const;

  // `blobs`: the whole model, one segment a blob (offsets are not looked at),
  // in key order; `partials` of all of them, in blob and block order.  Sums
  // are taken in that order.
  UpdateScales Scales(absl::Span<const UpdateSegment> blobs, int64_t block,
                      absl::Span<const double> partials) const;
  // Clipping alone, of a gradient whose squared norm is known.
  UpdateScales ClipScales(double squared_norm) const;

  // `mean` is the mean over contributors of the sum over iter_size passes.
  // weights_out may equal weights_in; history[k] has the chunk's length. Floats
  // outside the segments are left alone.
  void Apply(const UpdateStep& step, const UpdateScales& scales,
             absl::Span<const UpdateSegment> segments,
             absl::Span<const float> weights_in, absl::Span<float> weights_out,
             absl::Span<float* const> history,
             absl::Span<const float> mean) const;

 private:
  ChunkUpdate(std::unique_ptr<UpdateRule> rule, Regularizer regularizer,
              const caffe::SolverParameter& solver)
      : rule_(std::move(rule)),
        regularizer_(regularizer),
        clip_(solver.clip_gradients()),
        lars_eta_(solver.lars_eta()),
        weight_decay_(solver.weight_decay()),
        iter_scale_(1.0f / static_cast<float>(solver.iter_size())) {}

  float LarsRate(const UpdateSegment& blob, float clip, double squared_gradient,
                 double squared_weights) const;
  void ApplyStatistic(float share, const UpdateSegment& segment,
                      absl::Span<const float> weights_in,
                      absl::Span<float> weights_out,
                      absl::Span<const float> mean) const;

  const std::unique_ptr<UpdateRule> rule_;
  const Regularizer regularizer_;
  const float clip_;
  const float lars_eta_;  // 0: no LARS
  const float weight_decay_;
  const float iter_scale_;
};

}  // namespace cssp

#endif  // CSSP_COMMON_OPTIM_CHUNK_UPDATE_H_
