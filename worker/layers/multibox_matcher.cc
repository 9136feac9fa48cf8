#include "worker/layers/multibox_matcher.h"

#include <algorithm>
#include <cfloat>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

using caffe::MultiBoxLossParameter;

constexpr int kRow = 8;  // item, label, instance, box, difficult
constexpr float kLeastOverlap = 1e-6f;

bool CrossesBorder(const Box& box) {
  const auto outside = [](float v) { return v < 0 || v > 1; };
  return outside(box.xmin) || outside(box.ymin) || outside(box.xmax) ||
         outside(box.ymax);
}

double SoftmaxLoss(const float* conf, int64_t classes, int32_t target,
                   float* slope) {
  const float largest = *std::max_element(conf, conf + classes);
  double sum = 0;
  for (int64_t c = 0; c < classes; ++c) sum += std::exp(conf[c] - largest);
  for (int64_t c = 0; c < classes && slope != nullptr; ++c) {
    slope[c] = static_cast<float>(std::exp(conf[c] - largest) / sum) -
               (c == target ? 1 : 0);
  }
  const double p = std::exp(conf[target] - largest) / sum;
  return -std::log(std::max(p, double{FLT_MIN}));
}

// Sigmoid cross entropy, class by class.
double LogisticLoss(const float* conf, int64_t classes, int32_t target,
                    float* slope) {
  double loss = 0;
  for (int64_t c = 0; c < classes; ++c) {
    const double x = conf[c], own = c == target ? 1 : 0;
    loss += std::max(x, 0.0) - x * own + std::log1p(std::exp(-std::fabs(x)));
    if (slope != nullptr) {
      slope[c] = static_cast<float>(0.5 * std::tanh(0.5 * x) + 0.5 - own);
    }
  }
  return loss;
}

}  // namespace

double ConfidenceLoss(MultiBoxLossParameter::ConfLossType type,
                      const float* conf, int64_t classes, int32_t target,
                      float* slope) {
  return type == MultiBoxLossParameter::SOFTMAX
             ? SoftmaxLoss(conf, classes, target, slope)
             : LogisticLoss(conf, classes, target, slope);
}

void MultiBoxMatcher::Prepare(const MultiBoxLossParameter& param,
                              const BoxGeometry& geometry, int64_t truth_rows) {
  param_ = param;
  g_ = geometry;
  truth_rows_ = truth_rows;
  truths_.reserve(truth_rows);
  first_truth_.resize(g_.items + 1);
  match_.resize(g_.items * g_.loc_classes * g_.priors);
  best_overlap_.resize(match_.size());
  negative_.resize(g_.items * g_.priors);
  boxes_.resize(g_.priors);
  pool_.reserve(truth_rows);
  left_.reserve(truth_rows);
  ranked_.reserve(g_.priors);
  kept_.reserve(g_.priors);
}

absl::Status MultiBoxMatcher::Match(const MultiBoxInput& in) {
  RETURN_IF_ERROR(ReadTruths(in.truth));
  std::fill(match_.begin(), match_.end(), kUnmatched);
  std::fill(best_overlap_.begin(), best_overlap_.end(), 0.0f);
  std::fill(negative_.begin(), negative_.end(), 0);
  for (int64_t n = 0; n < g_.items; ++n) {
    // No object, no negatives either, as in SSD.
    if (first_truth_[n] == first_truth_[n + 1]) continue;
    MatchItem(in, n);
    if (mines()) Mine(in, n);
  }
  matches_ = std::count_if(match_.begin(), match_.end(),
                           [](int32_t m) { return m > kUnmatched; });
  return absl::OkStatus();
}

absl::Status MultiBoxMatcher::CheckTruth(const float* row,
                                         int64_t index) const {
  if (!(row[0] >= 0 && row[0] < static_cast<float>(g_.items))) {
    return absl::InvalidArgumentError(
        absl::StrCat("ground truth ", index, " is of item ", row[0],
                     ", the batch has ", g_.items));
  }
  if (!(row[1] >= 0 && row[1] < static_cast<float>(g_.classes)) ||
      static_cast<uint32_t>(row[1]) == param_.background_label_id()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "ground truth ", index, " has label ", row[1],
        ": it must be one of the ", g_.classes,
        " classes (multibox_loss_param.num_classes) and not the background"));
  }
  return absl::OkStatus();
}

absl::Status MultiBoxMatcher::ReadTruths(const float* rows) {
  truths_.clear();
  for (int64_t i = 0; i < truth_rows_ && rows[i * kRow] != -1; ++i) {
    const float* row = rows + i * kRow;
    RETURN_IF_ERROR(CheckTruth(row, i));
    if (!param_.use_difficult_gt() && row[7] != 0) continue;
    truths_.push_back({static_cast<int32_t>(row[0]),
                       static_cast<int32_t>(row[1]), Box::At(row + 3)});
    // Rows come by item as a rule; insertion keeps their order otherwise.
    for (size_t t = truths_.size() - 1;
         t > 0 && truths_[t].item < truths_[t - 1].item; --t) {
      std::swap(truths_[t], truths_[t - 1]);
    }
  }
  int64_t at = 0;
  for (int64_t n = 0; n <= g_.items; ++n) {
    while (at < static_cast<int64_t>(truths_.size()) && truths_[at].item < n) {
      ++at;
    }
    first_truth_[n] = at;
  }
  return absl::OkStatus();
}

Box MultiBoxMatcher::BoxForMatching(const MultiBoxInput& in, int64_t item,
                                    int64_t c, int64_t prior,
                                    bool use_prior) const {
  const Box box = Box::At(in.prior + prior * 4);
  if (use_prior) return box;
  return codec().Decode(box, g_.Variance(in.prior, prior),
                        in.loc + g_.Loc(item, prior, c));
}

void MultiBoxMatcher::MatchItem(const MultiBoxInput& in, int64_t item) {
  const bool shared = g_.loc_classes == 1;
  if (shared || param_.use_prior_for_matching()) {
    MatchClass(in, item, 0, /*all_labels=*/true);
    if (!shared) SpreadOverClasses(item);
    return;
  }
  for (int64_t c = 0; c < g_.loc_classes; ++c) {
    if (c == param_.background_label_id()) continue;
    MatchClass(in, item, c, /*all_labels=*/false);
  }
}

// The matches of class 0 stand for all: each goes to its truth's class.
void MultiBoxMatcher::SpreadOverClasses(int64_t item) {
  int32_t* match = match_.data() + item * g_.loc_classes * g_.priors;
  for (int64_t p = 0; p < g_.priors; ++p) {
    const int32_t truth = match[p];
    if (truth <= kUnmatched) continue;
    match[p] = kUnmatched;
    match[truths_[truth].label * g_.priors + p] = truth;
  }
}

void MultiBoxMatcher::MatchClass(const MultiBoxInput& in, int64_t item,
                                 int64_t c, bool all_labels) {
  const bool use_prior = param_.use_prior_for_matching();
  pool_.clear();
  for (int64_t t = first_truth_[item]; t < first_truth_[item + 1]; ++t) {
    if (all_labels || truths_[t].label == c) {
      pool_.push_back(static_cast<int32_t>(t));
    }
  }
  if (pool_.empty()) return;
  for (int64_t p = 0; p < g_.priors; ++p) {
    boxes_[p] = BoxForMatching(in, item, c, p, use_prior);
  }
  const int64_t at = (item * g_.loc_classes + c) * g_.priors;
  int32_t* match = match_.data() + at;
  float* best = best_overlap_.data() + at;
  MeasureOverlaps(match, best);
  MatchBipartite(match, best);
  if (param_.match_type() == MultiBoxLossParameter::PER_PREDICTION) {
    MatchPerPrediction(match, best);
  }
}

void MultiBoxMatcher::MeasureOverlaps(int32_t* match, float* best) {
  const size_t wide = pool_.size();
  overlaps_.resize(g_.priors * wide);
  for (int64_t p = 0; p < g_.priors; ++p) {
    if (param_.ignore_cross_boundary_bbox() && CrossesBorder(boxes_[p])) {
      match[p] = kOutside;
      continue;
    }
    for (size_t j = 0; j < wide; ++j) {
      const float overlap = Overlap(boxes_[p], truths_[pool_[j]].box);
      overlaps_[p * wide + j] = overlap > kLeastOverlap ? overlap : 0;
      best[p] = std::max(best[p], overlaps_[p * wide + j]);
    }
  }
}

void MultiBoxMatcher::MatchBipartite(int32_t* match, float* best) {
  const size_t wide = pool_.size();
  left_.resize(wide);
  for (size_t j = 0; j < wide; ++j) left_[j] = static_cast<int32_t>(j);
  while (!left_.empty()) {
    int64_t prior = -1;
    size_t which = 0;
    float most = 0;
    for (int64_t p = 0; p < g_.priors; ++p) {
      if (match[p] != kUnmatched) continue;
      for (size_t j = 0; j < left_.size(); ++j) {
        if (overlaps_[p * wide + left_[j]] > most) {
          most = overlaps_[p * wide + left_[j]];
          prior = p;
          which = j;
        }
      }
    }
    if (prior < 0) return;  // the others overlap nothing
    match[prior] = pool_[left_[which]];
    best[prior] = most;
    left_.erase(left_.begin() + static_cast<int64_t>(which));
  }
}

void MultiBoxMatcher::MatchPerPrediction(int32_t* match, float* best) const {
  const size_t wide = pool_.size();
  for (int64_t p = 0; p < g_.priors; ++p) {
    if (match[p] != kUnmatched) continue;
    float most = 0;
    for (size_t j = 0; j < wide; ++j) {
      const float overlap = overlaps_[p * wide + j];
      if (overlap < param_.overlap_threshold() || overlap <= most) continue;
      most = overlap;
      match[p] = pool_[j];
    }
    if (match[p] != kUnmatched) best[p] = most;
  }
}

bool MultiBoxMatcher::Eligible(int64_t item, int64_t prior) const {
  if (param_.mining_type() == MultiBoxLossParameter::HARD_EXAMPLE) return true;
  const int64_t at = item * g_.priors + prior;
  return match_[at] == kUnmatched && best_overlap_[at] < param_.neg_overlap();
}

float MultiBoxMatcher::LossOf(const MultiBoxInput& in, int64_t item,
                              int64_t prior) const {
  const int32_t truth = match(item, 0, prior);
  const int32_t target =
      truth > kUnmatched ? ClassOf(truths_[truth])
                         : static_cast<int32_t>(param_.background_label_id());
  double loss =
      ConfidenceLoss(param_.conf_loss_type(), in.conf + g_.Conf(item, prior),
                     g_.classes, target, nullptr);
  if (truth > kUnmatched &&
      param_.mining_type() == MultiBoxLossParameter::HARD_EXAMPLE) {
    float predicted[4], wanted[4];
    bool inert[4];
    Encode(in, item, 0, prior, predicted, wanted, inert);
    for (int k = 0; k < 4; ++k) loss += LocationLoss(predicted[k] - wanted[k]);
  }
  // Diverged: nan could not be sorted.
  return std::isnan(loss) ? FLT_MAX : static_cast<float>(loss);
}

float MultiBoxMatcher::LocationLoss(float d) const {
  return param_.loc_loss_type() == MultiBoxLossParameter::L2
             ? 0.5f * d * d
             : SmoothL1().Value(d);
}

// Mining is for shared locations alone: class 0 of match_ is all there is.
void MultiBoxMatcher::Mine(const MultiBoxInput& in, int64_t item) {
  const bool hard = param_.mining_type() == MultiBoxLossParameter::HARD_EXAMPLE;
  int32_t* match = match_.data() + item * g_.priors;
  uint8_t* negative = negative_.data() + item * g_.priors;
  ranked_.clear();
  for (int64_t p = 0; p < g_.priors; ++p) {
    if (Eligible(item, p)) {
      ranked_.push_back({LossOf(in, item, p), static_cast<int32_t>(p)});
    }
  }
  const int64_t positives = std::count_if(
      match, match + g_.priors, [](int32_t m) { return m > kUnmatched; });
  const int64_t wanted =
      hard ? param_.sample_size()
           : static_cast<int64_t>(positives * param_.neg_pos_ratio());
  std::sort(ranked_.begin(), ranked_.end());
  if (param_.has_nms_param() && param_.nms_param().nms_threshold() > 0) {
    Suppress(in, item);
  }
  if (wanted < static_cast<int64_t>(ranked_.size())) ranked_.resize(wanted);
  // 1: selected.  Turned into negatives below.
  for (const ScoredIndex& selected : ranked_) negative[selected.index] = 1;
  for (int64_t p = 0; p < g_.priors; ++p) {
    const bool selected = negative[p] != 0;
    negative[p] = selected && match[p] == kUnmatched;
    if (hard && !selected && match[p] > kUnmatched) match[p] = kUnmatched;
  }
}

void MultiBoxMatcher::Suppress(const MultiBoxInput& in, int64_t item) {
  const caffe::NonMaximumSuppressionParameter& nms = param_.nms_param();
  const bool limited = nms.has_top_k() && nms.top_k() > -1;
  if (limited && nms.top_k() < static_cast<int64_t>(ranked_.size())) {
    ranked_.resize(nms.top_k());
  }
  kept_.clear();
  for (const ScoredIndex& candidate : ranked_) {
    const Box box = BoxForMatching(in, item, 0, candidate.index,
                                   param_.use_prior_for_nms());
    if (box.area() < kLeastMinedArea) continue;
    const bool apart =
        std::all_of(kept_.begin(), kept_.end(), [&](const ScoredIndex& kept) {
          return Overlap(box, BoxForMatching(in, item, 0, kept.index,
                                             param_.use_prior_for_nms())) <=
                 nms.nms_threshold();
        });
    if (apart) kept_.push_back(candidate);
  }
  std::swap(ranked_, kept_);
}

void MultiBoxMatcher::Encode(const MultiBoxInput& in, int64_t item, int64_t c,
                             int64_t prior, float* predicted, float* wanted,
                             bool* inert) const {
  const Box box = Box::At(in.prior + prior * 4);
  const float* variance = g_.Variance(in.prior, prior);
  const float* loc = in.loc + g_.Loc(item, prior, c);
  codec().Encode(box, variance, truths_[match(item, c, prior)].box, wanted);
  const Box matched =
      BoxForMatching(in, item, c, prior, param_.use_prior_for_matching());
  const float sides[] = {matched.xmin, matched.ymin, matched.xmax,
                         matched.ymax};
  for (int k = 0; k < 4; ++k) {
    inert[k] = param_.bp_inside() && (sides[k] < 0 || sides[k] > 1);
    predicted[k] = inert[k] ? wanted[k] : loc[k];
    if (param_.encode_variance_in_target()) {
      predicted[k] /= variance[k];
      wanted[k] /= variance[k];
    }
  }
}

}  // namespace cssp
