// Location and confidence loss over matched default boxes (SSD).
#ifndef CSSP_WORKER_LAYERS_MULTIBOX_LOSS_LAYER_H_
#define CSSP_WORKER_LAYERS_MULTIBOX_LOSS_LAYER_H_

#include <vector>

#include "worker/layers/boxes.h"
#include "worker/layers/loss_normalizer.h"
#include "worker/net/layer.h"

namespace cssp {

// bottom: loc, conf, priors (see BoxGeometry), and ground truths: rows of item,
// label, instance, xmin, ymin, xmax, ymax, difficult.  Who is matched with whom
// and what is a negative: multibox_matcher.h.
//   loss = (loc_weight * L + C) / D
//   L  over matches: f(predicted - wanted location), L2 (half squares) or
//      SMOOTH_L1, of the four numbers of the code
//   C  over matches and negatives, without mining over all priors: the softmax
//      or (LOGISTIC) the sigmoid cross entropy of the confidences.  What is not
//      matched is background; to LOGISTIC without mining it is no class
//   D  as loss_normalizer.h has it; VALID, the default, is the matches
// Gradients flow to loc and conf; the choice of matches is held constant.  A
// part that propagate_down excludes counts for nothing.
//
// Thread-confined: the training thread.
class MultiBoxLossLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  int min_bottoms() const override { return 4; }
  int max_bottoms() const override { return 4; }
  bool is_loss() const override { return true; }
  bool allow_force_backward(int bottom) const override { return bottom < 2; }
  bool propagates_to(int bottom) const override { return bottom < 2; }

 protected:
  const caffe::MultiBoxLossParameter& options() const { return options_; }
  absl::StatusOr<BoxGeometry> GeometryOf(absl::Span<const Shape> bottom) const {
    return BoxGeometry::Of(bottom, options_.num_classes(),
                           options_.share_location());
  }
  static int64_t TruthRows(const Shape& truths) { return truths.count() / 8; }
  // Loc (0) and conf (1).
  bool Counts(int bottom) const {
    return layer_param().propagate_down_size() <= bottom ||
           layer_param().propagate_down(bottom);
  }
  caffe::LossParameter::NormalizationMode normalization() const {
    return normalization_;
  }
  double Divisor(const BoxGeometry& g, int64_t matches) const {
    return LossDivisor(normalization_, g.items, g.priors, matches);
  }

 private:
  absl::Status CheckClasses() const;

  caffe::MultiBoxLossParameter options_;  // with do_neg_mining resolved
  caffe::LossParameter::NormalizationMode normalization_ =
      caffe::LossParameter::VALID;
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_MULTIBOX_LOSS_LAYER_H_
