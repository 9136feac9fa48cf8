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
};

// Immutable.  The order inside one update is BVLC's: (clip factor,
// 1/iter_size), decay, rule.  Statistics skip all of it:
//   value = fraction * value + mean / iter_size.
class ChunkUpdate {
 public:
  static absl::StatusOr<std::unique_ptr<ChunkUpdate>> Create(
      const caffe::SolverParameter& solver);

  const UpdateRule& rule() const { return *rule_; }
  // Whether the norm over all chunks is needed before any Apply.
  bool clips() const { return clip_ >= 0; }
  float clip_gradients() const { return clip_; }

  // Appends the squared-norm partials of a chunk's `mean` gradient, one double
  // per `block` floats of each segment, in order; statistics have none.
  // REQUIRES: segments begin on multiples of `block` of their blob.
  void NormPartials(absl::Span<const UpdateSegment> segments,
                    absl::Span<const float> mean, int64_t block,
                    std::vector<double>* partials) const;

  // 1 without clipping.  `partials` of the whole model, in blob and block
  // order; their sum is taken in that order.
  float ClipScale(absl::Span<const double> partials) const;

  // `mean` is the mean over contributors of the sum over iter_size passes, and
  // is overwritten.  weights_out may equal weights_in; history[k] has the
  // chunk's length.  Floats outside the segments are left alone.
  void Apply(const UpdateStep& step, float clip_scale,
             absl::Span<const UpdateSegment> segments,
             absl::Span<const float> weights_in, absl::Span<float> weights_out,
             absl::Span<float* const> history, absl::Span<float> mean) const;

 private:
  ChunkUpdate(std::unique_ptr<UpdateRule> rule, Regularizer regularizer,
              float clip, int iter_size)
      : rule_(std::move(rule)),
        regularizer_(regularizer),
        clip_(clip),
        iter_scale_(1.0f / static_cast<float>(iter_size)) {}

  void ApplyStatistic(const UpdateSegment& segment,
                      absl::Span<const float> weights_in,
                      absl::Span<float> weights_out,
                      absl::Span<const float> mean) const;

  const std::unique_ptr<UpdateRule> rule_;
  const Regularizer regularizer_;
  const float clip_;
  const float iter_scale_;
};

}  // namespace cssp

#endif  // CSSP_COMMON_OPTIM_CHUNK_UPDATE_H_
