// Which prior answers for which object, and which priors count as negatives:
// the discrete half of MultiBoxLoss.
#ifndef CSSP_WORKER_LAYERS_MULTIBOX_MATCHER_H_
#define CSSP_WORKER_LAYERS_MULTIBOX_MATCHER_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "worker/layers/boxes.h"
#include "worker/layers/smooth_l1_loss_layer.h"

namespace cssp {

struct GroundTruth {
  int32_t item = 0;
  int32_t label = 0;
  Box box;
};

// Host memory, as the bottoms of MultiBoxLoss hold it.
struct MultiBoxInput {
  const float* loc = nullptr;
  const float* conf = nullptr;
  const float* prior = nullptr;
  const float* truth = nullptr;  // rows of 8
};

// The loss of one prior's confidences for class `target` (kNoClass: for none),
// and its derivative, if `slope` is not null.
double ConfidenceLoss(caffe::MultiBoxLossParameter::ConfLossType type,
                      const float* conf, int64_t classes, int32_t target,
                      float* slope);
constexpr int32_t kNoClass = -1;

// Thread-confined: the training thread.  After Prepare, Match allocates only
// where there are more ground truths than ever before.
//
// 1. Ground truths are read (item, label, -, box, difficult); the first row of
//    item -1 ends them.
// 2. Matching: every truth takes, best overlap first, the prior that overlaps
//    it most; with PER_PREDICTION each other prior takes the truth that it
//    overlaps most, from overlap_threshold on.  What is overlapped is the prior
//    or (use_prior_for_matching false) the predicted box.
// 3. Mining.  MAX_NEGATIVE: unmatched priors below neg_overlap, of highest
//    confidence loss, neg_pos_ratio times the matched ones of the item.
//    HARD_EXAMPLE: the sample_size priors of highest confidence plus location
//    loss; matches that are not among them are dropped.  With nms_param they
//    are picked less those that overlap a worse one.
class MultiBoxMatcher {
 public:
  static constexpr int32_t kUnmatched = -1;
  static constexpr int32_t kOutside = -2;  // ignore_cross_boundary_bbox

  void Prepare(const caffe::MultiBoxLossParameter& param,
               const BoxGeometry& geometry, int64_t truth_rows);
  absl::Status Match(const MultiBoxInput& in);

  // Index into truths(), or negative.  `c`: 0 where locations are shared.
  int32_t match(int64_t item, int64_t c, int64_t prior) const {
    return match_[(item * g_.loc_classes + c) * g_.priors + prior];
  }
  bool negative(int64_t item, int64_t prior) const {
    return negative_[item * g_.priors + prior] != 0;
  }
  const std::vector<GroundTruth>& truths() const { return truths_; }
  int64_t matches() const { return matches_; }
  BoxCodec codec() const {
    return {param_.code_type(), param_.encode_variance_in_target()};
  }
  bool mines() const {
    return param_.mining_type() != caffe::MultiBoxLossParameter::NONE;
  }
  // What the confidences of a prior that is matched with `truth` should say.
  int32_t ClassOf(const GroundTruth& truth) const {
    return param_.map_object_to_agnostic()
               ? static_cast<int32_t>(param_.background_label_id()) + 1
               : truth.label;
  }
  // Predicted and wanted location of a match, as the loss compares them.  Where
  // `inert[k]` the two are equal and no gradient flows (bp_inside).
  void Encode(const MultiBoxInput& in, int64_t item, int64_t c, int64_t prior,
              float* predicted, float* wanted, bool* inert) const;
  // Of one of the four numbers that differs by d.
  float LocationLoss(float d) const;

 private:
  absl::Status ReadTruths(const float* rows);
  absl::Status CheckTruth(const float* row, int64_t index) const;
  void MatchItem(const MultiBoxInput& in, int64_t item);
  void MatchClass(const MultiBoxInput& in, int64_t item, int64_t c,
                  bool all_labels);
  void MeasureOverlaps(int32_t* match, float* best);
  void MatchBipartite(int32_t* match, float* best);
  void MatchPerPrediction(int32_t* match, float* best) const;
  void SpreadOverClasses(int64_t item);
  void Mine(const MultiBoxInput& in, int64_t item);
  bool Eligible(int64_t item, int64_t prior) const;
  float LossOf(const MultiBoxInput& in, int64_t item, int64_t prior) const;
  void Suppress(const MultiBoxInput& in, int64_t item);
  Box BoxForMatching(const MultiBoxInput& in, int64_t item, int64_t c,
                     int64_t prior, bool use_prior) const;

  caffe::MultiBoxLossParameter param_;
  BoxGeometry g_;
  int64_t truth_rows_ = 0;
  std::vector<GroundTruth> truths_;   // by item
  std::vector<int64_t> first_truth_;  // per item, and the end
  std::vector<int32_t> match_;        // items x loc_classes x priors
  std::vector<float> best_overlap_;   // as match_
  std::vector<uint8_t> negative_;     // items x priors
  int64_t matches_ = 0;
  // Of one item.
  std::vector<Box> boxes_;       // per prior
  std::vector<int32_t> pool_;    // truths that may be matched
  std::vector<int32_t> left_;    // of those, not yet matched
  std::vector<float> overlaps_;  // priors x pool_
  std::vector<ScoredIndex> ranked_, kept_;
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_MULTIBOX_MATCHER_H_
