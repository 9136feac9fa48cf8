// Normalisation by the statistics of the batch, or by running ones.
#ifndef CSSP_WORKER_LAYERS_BATCH_NORM_LAYER_H_
#define CSSP_WORKER_LAYERS_BATCH_NORM_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// top = (bottom - mean) / sqrt(var + eps), per channel (axis 1; a bottom of one
// axis is one channel).  No scale, no shift: pair with Scale, or scale_bias.
//
// Three statistic parameters, as Caffe stores them: sums of means (C), sums of
// variances (C), and the factor (1) that both are to be divided by.
//   Batch statistics (use_global_stats false; the default in TRAIN): mean and
//   the biased variance of the batch.  In TRAIN, Forward writes the batch's
//   contribution into the statistics' gradient slots: mean, m/(m-1) * variance
//   for m values per channel, and 1; the updater does
//     blob = moving_average_fraction * blob + contribution.
//   Global statistics (the default in TEST): mean = blob0 / blob2 and so on;
//   0 where the factor is 0.  In TRAIN the contribution is 0 and the fraction
//   counts as 1: the blobs stay as they are.
// Backward, batch statistics, with <> the mean over a channel:
//   dx = (dy - <dy> - <dy * y> * y) / sqrt(var + eps).
//
// With scale_bias (NVIDIA's fork) a Scale layer with bias is fused in:
//   top = s * y + b, y as above; ds = sum of dtop * y, db = sum of dtop,
//   dx as above with dy = s * dtop.
// s and b (C each) are parameters 3 and 4, of scale_filler (default 1) and
// bias_filler (default 0).  y is made from the bottom again: not in place.
//
// Thread-confined: the training thread.
class BatchNormLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  FormatChoice ChooseFormats(absl::Span<const TensorDesc> bottom,
                             absl::Span<const Shape> top) const override {
    return {{bottom[0].format}, {bottom[0].format}};
  }

 protected:
  bool use_global_stats() const;
  bool fused() const { return layer_param().batch_norm_param().scale_bias(); }
  float eps() const { return layer_param().batch_norm_param().eps(); }
  static int64_t ChannelsOf(const Shape& bottom) {
    return bottom.num_axes() == 1 ? 1 : bottom.dim(1);
  }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_BATCH_NORM_LAYER_H_
