// MultiBoxLoss against a plain transcription of its definition, in double.
#include <algorithm>
#include <cmath>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/gradient_checker.h"
#include "tests/testing/layer_runner.h"
#include "worker/layers/boxes.h"

namespace cssp::testing {
namespace {

constexpr int kItems = 2, kPriors = 6, kClasses = 3;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

const Values kPriorBoxes = {
    0.05f, 0.05f, 0.35f, 0.35f, 0.1f, 0.1f, 0.45f, 0.4f, 0.5f, 0.5f, 0.8f, 0.9f,
    0.45f, 0.5f, 0.85f, 0.8f, -0.1f, 0.6f, 0.2f, 0.95f, 0.6f, 0.05f, 0.9f, 0.3f,
    // variances
    0.1f, 0.1f, 0.2f, 0.2f, 0.1f, 0.1f, 0.2f, 0.2f, 0.1f, 0.1f, 0.2f, 0.2f,
    0.1f, 0.1f, 0.2f, 0.2f, 0.1f, 0.1f, 0.2f, 0.2f, 0.1f, 0.1f, 0.2f, 0.2f};
// item, label, instance, box, difficult.
const Values kTruths = {0, 1, 0, 0.07f, 0.08f, 0.4f,  0.37f, 0,  //
                        0, 2, 0, 0.5f,  0.55f, 0.82f, 0.85f, 0,  //
                        1, 2, 0, 0.0f,  0.6f,  0.22f, 0.9f,  0,  //
                        1, 1, 1, 0.55f, 0.5f,  0.9f,  0.8f,  1};

struct Case {
  const char* name;
  const char* fields;
  const char* loss_param = "";
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

caffe::LayerParameter Layer(const Case& c) {
  return ParseLayer(absl::StrCat(
      "type: 'MultiBoxLoss' multibox_loss_param { num_classes: ", kClasses, " ",
      c.fields, " } loss_param { ", c.loss_param, " }"));
}

std::string Text(const Case& c) { return Layer(c).ShortDebugString(); }

// The definition, for shared locations.
class Reference {
 public:
  Reference(const Case& c, const Values& loc, const Values& conf)
      : layer_(Layer(c)),
        p_(layer_.multibox_loss_param()),
        loc_(loc),
        conf_(conf) {}

  double Loss() {
    double loc = 0, conf = 0;
    int matches = 0;
    for (int n = 0; n < kItems; ++n) {
      Match(n);
      Mine(n);
      for (int p = 0; p < kPriors; ++p) {
        if (match_[p] >= 0) {
          ++matches;
          loc += LocLoss(n, p);
        }
        if (match_[p] >= 0 || negative_[p]) {
          conf += ConfLoss(n, p, match_[p] >= 0 ? Label(match_[p]) : 0);
        } else if (p_.mining_type() == caffe::MultiBoxLossParameter::NONE) {
          const bool logistic =
              p_.conf_loss_type() == caffe::MultiBoxLossParameter::LOGISTIC;
          conf += ConfLoss(n, p, logistic ? -1 : 0);
        }
      }
    }
    const auto mode = layer_.loss_param().normalization();
    const double divisor = mode == caffe::LossParameter::FULL ? kItems * kPriors
                           : mode == caffe::LossParameter::BATCH_SIZE ? kItems
                           : mode == caffe::LossParameter::NONE       ? 1
                                                                      : matches;
    return (p_.loc_weight() * loc + conf) / std::max(divisor, 1.0);
  }

 private:
  static Box Truth(int t) { return Box::At(&kTruths[t * 8 + 3]); }
  int Label(int t) const {
    return p_.map_object_to_agnostic() ? 1
                                       : static_cast<int>(kTruths[t * 8 + 1]);
  }
  Box Prior(int p) const { return Box::At(&kPriorBoxes[p * 4]); }
  BoxCodec Codec() const {
    return {p_.code_type(), p_.encode_variance_in_target()};
  }
  Box Predicted(int n, int p) const {
    return Codec().Decode(Prior(p), Variance(p), &loc_[(n * kPriors + p) * 4]);
  }
  const float* Variance(int p) const { return &kPriorBoxes[(kPriors + p) * 4]; }
  Box Candidate(int n, int p) const {
    return p_.use_prior_for_matching() ? Prior(p) : Predicted(n, p);
  }
  static bool Outside(const Box& b) {
    return b.xmin < 0 || b.ymin < 0 || b.xmax > 1 || b.ymax > 1;
  }

  void Match(int n) {
    match_.assign(kPriors, -1);
    best_.assign(kPriors, 0);
    std::vector<int> truths;
    for (int t = 0; t < 4; ++t) {
      const bool difficult = kTruths[t * 8 + 7] != 0;
      if (kTruths[t * 8] == n && (p_.use_difficult_gt() || !difficult)) {
        truths.push_back(t);
      }
    }
    any_ = !truths.empty();
    for (int p = 0; p < kPriors; ++p) {
      if (p_.ignore_cross_boundary_bbox() && Outside(Candidate(n, p))) {
        match_[p] = -2;
      }
      for (int t : truths) {
        if (match_[p] == -1) {
          best_[p] =
              std::max<double>(best_[p], Overlap(Candidate(n, p), Truth(t)));
        }
      }
    }
    std::vector<int> open = truths;
    while (!open.empty()) {
      double most = 1e-6;
      int prior = -1, truth = -1;
      for (int t : open) {
        for (int p = 0; p < kPriors; ++p) {
          if (match_[p] == -1 && Overlap(Candidate(n, p), Truth(t)) > most) {
            most = Overlap(Candidate(n, p), Truth(t));
            prior = p;
            truth = t;
          }
        }
      }
      if (prior < 0) break;
      match_[prior] = truth;
      open.erase(std::find(open.begin(), open.end(), truth));
    }
    if (p_.match_type() == caffe::MultiBoxLossParameter::BIPARTITE) return;
    for (int p = 0; p < kPriors; ++p) {
      if (match_[p] != -1) continue;
      double most = p_.overlap_threshold();
      for (int t : truths) {
        const double overlap = Overlap(Candidate(n, p), Truth(t));
        if (overlap >= most) {
          most = overlap;
          match_[p] = t;
        }
      }
    }
  }

  void Mine(int n) {
    using M = caffe::MultiBoxLossParameter;
    negative_.assign(kPriors, false);
    if (p_.mining_type() == M::NONE || !any_) return;
    const bool hard = p_.mining_type() == M::HARD_EXAMPLE;
    std::vector<std::pair<double, int>> ranked;
    int positives = 0;
    for (int p = 0; p < kPriors; ++p) {
      positives += match_[p] >= 0;
      const bool free = match_[p] == -1 && best_[p] < p_.neg_overlap();
      if (!hard && !free) continue;
      double loss = ConfLoss(n, p, match_[p] >= 0 ? Label(match_[p]) : 0);
      if (hard && match_[p] >= 0) loss += LocLoss(n, p);
      ranked.push_back({-loss, p});
    }
    std::sort(ranked.begin(), ranked.end());
    if (p_.has_nms_param()) {
      std::vector<std::pair<double, int>> kept;
      for (const auto& r : ranked) {
        bool apart = true;
        for (const auto& k : kept) {
          apart = apart && Overlap(Boxed(n, r.second), Boxed(n, k.second)) <=
                               p_.nms_param().nms_threshold();
        }
        if (apart) kept.push_back(r);
      }
      ranked = kept;
    }
    const size_t wanted =
        hard ? p_.sample_size()
             : static_cast<size_t>(positives * p_.neg_pos_ratio());
    if (ranked.size() > wanted) ranked.resize(wanted);
    for (int p = 0; p < kPriors; ++p) {
      bool selected = false;
      for (const auto& r : ranked) selected = selected || r.second == p;
      negative_[p] = selected && match_[p] == -1;
      if (hard && !selected && match_[p] >= 0) match_[p] = -1;
    }
  }
  Box Boxed(int n, int p) const {
    return p_.use_prior_for_nms() ? Prior(p) : Predicted(n, p);
  }

  double LocLoss(int n, int p) const {
    float wanted[4];
    Codec().Encode(Prior(p), Variance(p), Truth(match_[p]), wanted);
    const Box box = Candidate(n, p);
    const float sides[] = {box.xmin, box.ymin, box.xmax, box.ymax};
    double loss = 0;
    for (int k = 0; k < 4; ++k) {
      if (p_.bp_inside() && (sides[k] < 0 || sides[k] > 1)) continue;
      double d = double{loc_[(n * kPriors + p) * 4 + k]} - wanted[k];
      if (p_.encode_variance_in_target()) d /= Variance(p)[k];
      const bool l2 = p_.loc_loss_type() == caffe::MultiBoxLossParameter::L2;
      loss += l2 || std::fabs(d) < 1 ? d * d / 2 : std::fabs(d) - 0.5;
    }
    return loss;
  }

  double ConfLoss(int n, int p, int label) const {
    const float* x = &conf_[(n * kPriors + p) * kClasses];
    double sum = 0, loss = 0;
    for (int c = 0; c < kClasses; ++c) {
      sum += std::exp(double{x[c]});
      const double s = 1 / (1 + std::exp(-double{x[c]}));
      loss -= c == label ? std::log(s) : std::log(1 - s);
    }
    const bool logistic =
        p_.conf_loss_type() == caffe::MultiBoxLossParameter::LOGISTIC;
    return logistic ? loss : std::log(sum) - x[label];
  }

  const caffe::LayerParameter layer_;
  const caffe::MultiBoxLossParameter& p_;
  const Values& loc_;
  const Values& conf_;
  std::vector<int> match_;
  std::vector<double> best_;
  std::vector<bool> negative_;
  bool any_ = false;
};

const Case kCases[] = {
    {"Default", ""},
    {"CenterSize", "code_type: CENTER_SIZE"},
    {"CornerSizeL2", "code_type: CORNER_SIZE loc_loss_type: L2 loc_weight: 2"},
    {"VarianceInTarget",
     "code_type: CENTER_SIZE encode_variance_in_target: true"},
    {"Bipartite", "match_type: BIPARTITE neg_pos_ratio: 1"},
    {"LowThreshold", "overlap_threshold: 0.2 neg_overlap: 0.1"},
    {"ByPrediction", "use_prior_for_matching: false code_type: CENTER_SIZE"},
    {"NoMining", "mining_type: NONE"},
    {"NoMiningLegacy", "do_neg_mining: false"},
    {"NoMiningLogistic", "mining_type: NONE conf_loss_type: LOGISTIC"},
    {"Logistic", "conf_loss_type: LOGISTIC"},
    {"HardExample", "mining_type: HARD_EXAMPLE sample_size: 3"},
    {"HardExampleL2",
     "mining_type: HARD_EXAMPLE sample_size: 2 loc_loss_type: L2"},
    {"NegativesLessNeighbours",
     "nms_param { nms_threshold: 0.2 } neg_pos_ratio: 1.5"},
    {"PriorsForNms",
     "nms_param { nms_threshold: 0.2 } use_prior_for_nms: true"},
    {"NoDifficult", "use_difficult_gt: false"},
    {"CrossBoundary", "ignore_cross_boundary_bbox: true"},
    {"BpInside",
     "use_prior_for_matching: false bp_inside: true code_type: CENTER_SIZE"},
    {"Agnostic", "map_object_to_agnostic: true"},
    {"Full", "", "normalization: FULL"},
    {"BatchSize", "", "normalization: BATCH_SIZE"},
    {"Unnormalised", "", "normalization: NONE"},
};

class MultiBoxLoss : public ::testing::Test {
 protected:
  const Values loc_ = Normal(kItems * kPriors * 4, 1, 0.7f);
  const Values conf_ = Distinct(kItems * kPriors * kClasses, 2, 0.11f);
  const std::vector<Shape> shapes_ = {{kItems, kPriors * 4},
                                      {kItems, kPriors* kClasses},
                                      {1, 2, kPriors * 4},
                                      {1, 1, 4, 8}};
};

class MultiBoxLossLayerTest : public MultiBoxLoss,
                              public ::testing::WithParamInterface<Case> {};

TEST_P(MultiBoxLossLayerTest, ForwardIsTheDefinition) {
  auto run = LayerRunner::Create(Text(GetParam()), caffe::TRAIN, shapes_);
  ASSERT_TRUE(run.ok()) << run.status();
  (*run)->bottom = {loc_, conf_, kPriorBoxes, kTruths};
  ASSERT_TRUE((*run)->Forward().ok());
  const double expected = Reference(GetParam(), loc_, conf_).Loss();
  EXPECT_NEAR((*run)->top[0][0], expected, 1e-4 * std::max(1.0, expected));
}

TEST_P(MultiBoxLossLayerTest, Gradients) {
  EXPECT_EQ(CheckGradients({.layer = Text(GetParam()),
                            .bottom = shapes_,
                            .step = 1e-3,
                            .threshold = 5e-3,
                            .values = {loc_, conf_, kPriorBoxes, kTruths}}),
            "");
}

INSTANTIATE_TEST_SUITE_P(All, MultiBoxLossLayerTest,
                         ::testing::ValuesIn(kCases), [](const auto& info) {
                           return std::string(info.param.name);
                         });

TEST_F(MultiBoxLoss, NothingToFindCostsNothing) {
  auto run = LayerRunner::Create(Text({"", ""}), caffe::TRAIN, shapes_);
  ASSERT_TRUE(run.ok()) << run.status();
  Values none(32, 0.0f);
  none[0] = -1;
  (*run)->bottom = {loc_, conf_, kPriorBoxes, none};
  ASSERT_TRUE((*run)->Forward().ok());
  EXPECT_EQ((*run)->top[0][0], 0);
  ASSERT_TRUE((*run)->Backward({{1}}, GradientMode::kWrite).ok());
  for (int i : {0, 1}) {
    for (float g : (*run)->bottom_gradient[i]) EXPECT_EQ(g, 0);
  }
}

// Each class has locations of its own: a match counts in its truth's alone.
TEST_F(MultiBoxLoss, LocationsOfEachClass) {
  const Case alone = {"", "mining_type: NONE share_location: false"};
  const Case shared = {"", "mining_type: NONE"};
  std::vector<Shape> shapes = shapes_;
  shapes[0] = {kItems, kPriors * kClasses * 4};
  auto apart = LayerRunner::Create(Text(alone), caffe::TRAIN, shapes);
  auto one = LayerRunner::Create(Text(shared), caffe::TRAIN, shapes_);
  ASSERT_TRUE(apart.ok() && one.ok()) << apart.status();
  (*one)->bottom = {loc_, conf_, kPriorBoxes, kTruths};
  (*apart)->bottom = {Values(), conf_, kPriorBoxes, kTruths};
  for (int i = 0; i < kItems * kPriors; ++i) {
    for (int c = 0; c < kClasses; ++c) {
      (*apart)->bottom[0].insert((*apart)->bottom[0].end(),
                                 loc_.begin() + i * 4,
                                 loc_.begin() + i * 4 + 4);
    }
  }
  ASSERT_TRUE((*one)->Forward().ok());
  ASSERT_TRUE((*apart)->Forward().ok());
  EXPECT_NEAR((*apart)->top[0][0], (*one)->top[0][0], 1e-5);
  for (const Case& c : {alone,
                        {"",
                         "mining_type: NONE share_location: false "
                         "use_prior_for_matching: false"}}) {
    EXPECT_EQ(CheckGradients({.layer = Text(c),
                              .bottom = shapes,
                              .step = 1e-3,
                              .threshold = 5e-3,
                              .values = (*apart)->bottom}),
              "");
  }
}

TEST_F(MultiBoxLoss, PropagateDownLeavesPartsOut) {
  double sum = 0, whole = 0;
  for (const char* parts : {"true", "", "false"}) {
    auto layer = Layer({"", ""});
    const std::string which = parts;
    if (!which.empty()) {
      layer.add_propagate_down(which == "true");
      layer.add_propagate_down(which != "true");
    }
    auto run = LayerRunner::Create(layer, caffe::TRAIN, shapes_);
    ASSERT_TRUE(run.ok()) << run.status();
    (*run)->bottom = {loc_, conf_, kPriorBoxes, kTruths};
    ASSERT_TRUE((*run)->Forward().ok());
    (which.empty() ? whole : sum) += (*run)->top[0][0];
  }
  EXPECT_NEAR(sum, whole, 1e-5);
}

TEST_F(MultiBoxLoss, RefusesWhatIsWrong) {
  for (const char* fields :
       {"share_location: false",
        "do_neg_mining: false mining_type: "
        "HARD_EXAMPLE",
        "background_label_id: 3", "sample_size: 0", "overlap_threshold: 0",
        "map_object_to_agnostic: true background_label_id: 2"}) {
    EXPECT_EQ(LayerRunner::Create(Text({"", fields}), caffe::TRAIN, shapes_)
                  .status()
                  .code(),
              kInvalid)
        << fields;
  }
  std::vector<Shape> shapes = shapes_;
  shapes[3] = {1, 1, 4, 7};
  EXPECT_EQ(
      LayerRunner::Create(Text({"", ""}), caffe::TRAIN, shapes).status().code(),
      kInvalid);
  auto run = LayerRunner::Create(Text({"", ""}), caffe::TRAIN, shapes_);
  ASSERT_TRUE(run.ok()) << run.status();
  for (const auto& [at, value] : {std::pair<int, float>{0, 2},
                                  {1, 0},
                                  {1, 3},
                                  {9, -1},
                                  {8, std::nanf("")}}) {
    (*run)->bottom = {loc_, conf_, kPriorBoxes, kTruths};
    (*run)->bottom[3][at] = value;
    EXPECT_EQ((*run)->Forward().code(), kInvalid) << at << " " << value;
  }
}

}  // namespace
}  // namespace cssp::testing
