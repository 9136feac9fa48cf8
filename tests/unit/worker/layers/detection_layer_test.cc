// PriorBox, DetectionOutput, and the arithmetic of boxes.
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/layer_runner.h"
#include "worker/layers/boxes.h"

namespace cssp::testing {
namespace {

using ::testing::ElementsAre;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

// ---- Boxes

TEST(BoxesLayer, Overlap) {
  const Box a = {0, 0, 0.4f, 0.4f};
  EXPECT_FLOAT_EQ(Overlap(a, a), 1);
  EXPECT_FLOAT_EQ(Overlap(a, {0.2f, 0.2f, 0.6f, 0.6f}), 0.04f / 0.28f);
  EXPECT_EQ(Overlap(a, {0.4f, 0, 0.8f, 0.4f}), 0);  // they touch
  EXPECT_EQ(Overlap(a, {0.3f, 0.3f, 0.2f, 0.2f}), 0);
}

TEST(BoxesLayer, DecodeUndoesEncode) {
  const Box prior = {0.1f, 0.2f, 0.5f, 0.5f}, box = {0.15f, 0.1f, 0.6f, 0.7f};
  const float variance[] = {0.1f, 0.2f, 0.3f, 0.4f};
  using P = caffe::PriorBoxParameter;
  const struct {
    P::CodeType type;
    float code[4];  // before the division by the variance
  } cases[] = {
      {P::CORNER, {0.05f, -0.1f, 0.1f, 0.2f}},
      {P::CENTER_SIZE,
       {0.075f / 0.4f, 0.05f / 0.3f, std::log(0.45f / 0.4f), std::log(2.0f)}},
      {P::CORNER_SIZE, {0.05f / 0.4f, -0.1f / 0.3f, 0.1f / 0.4f, 0.2f / 0.3f}}};
  for (const auto& c : cases) {
    for (const bool in_target : {false, true}) {
      const BoxCodec codec = {c.type, in_target};
      float code[4];
      codec.Encode(prior, variance, box, code);
      for (int k = 0; k < 4; ++k) {
        EXPECT_NEAR(code[k], c.code[k] / (in_target ? 1 : variance[k]), 1e-5);
      }
      const Box back = codec.Decode(prior, variance, code);
      EXPECT_NEAR(back.xmin, box.xmin, 1e-6);
      EXPECT_NEAR(back.ymin, box.ymin, 1e-6);
      EXPECT_NEAR(back.xmax, box.xmax, 1e-6);
      EXPECT_NEAR(back.ymax, box.ymax, 1e-6);
    }
  }
}

// ---- PriorBox

std::unique_ptr<LayerRunner> Priors(const std::string& fields,
                                    const Shape& map = {1, 8, 2, 3},
                                    const Shape& image = {1, 3, 100, 300}) {
  auto run = LayerRunner::Create(
      absl::StrCat("type: 'PriorBox' prior_box_param { ", fields, " }"),
      caffe::TRAIN, {map, image});
  EXPECT_TRUE(run.ok()) << fields << ": " << run.status();
  if (!run.ok()) return nullptr;
  EXPECT_TRUE((*run)->Forward().ok());
  return *std::move(run);
}

TEST(PriorBoxLayer, BoxesOfACell) {
  auto r = Priors(
      "min_size: 20 max_size: 45 aspect_ratio: 4 aspect_ratio: 1 "
      "aspect_ratio: 4 variance: 0.1 variance: 0.1 variance: 0.2 variance: "
      "0.3");
  ASSERT_TRUE(r);
  // 6 cells x (min, between, 4, 1/4).
  ASSERT_EQ(r->top_shapes()[0], Shape({1, 2, 6 * 4 * 4}));
  const double sizes[4][2] = {{20, 20}, {30, 30}, {40, 10}, {10, 40}};
  for (int row = 0; row < 2; ++row) {
    for (int column = 0; column < 3; ++column) {
      const double x = (column + 0.5) * 100, y = (row + 0.5) * 50;
      for (int b = 0; b < 4; ++b) {
        const float* box = &r->top[0][((row * 3 + column) * 4 + b) * 4];
        EXPECT_NEAR(box[0], (x - sizes[b][0] / 2) / 300, 1e-6);
        EXPECT_NEAR(box[1], (y - sizes[b][1] / 2) / 100, 1e-6);
        EXPECT_NEAR(box[2], (x + sizes[b][0] / 2) / 300, 1e-6);
        EXPECT_NEAR(box[3], (y + sizes[b][1] / 2) / 100, 1e-6);
        const float* variance = box + 6 * 4 * 4;
        EXPECT_FLOAT_EQ(variance[0], 0.1f);
        EXPECT_FLOAT_EQ(variance[3], 0.3f);
      }
    }
  }
}

TEST(PriorBoxLayer, Options) {
  auto clipped = Priors("min_size: 200 min_size: 10 clip: true");
  ASSERT_TRUE(clipped);
  EXPECT_EQ(clipped->top_shapes()[0], Shape({1, 2, 6 * 2 * 4}));
  EXPECT_EQ(clipped->top[0][0], 0);
  EXPECT_EQ(clipped->top[0][3], 1);
  EXPECT_FLOAT_EQ(clipped->top[0][6 * 2 * 4], 0.1f);  // variance's default
  auto one_way = Priors("min_size: 10 aspect_ratio: 2 flip: false");
  ASSERT_TRUE(one_way);
  EXPECT_EQ(one_way->top_shapes()[0], Shape({1, 2, 6 * 2 * 4}));
  auto placed = Priors("min_size: 10 step: 16 offset: 0 img_size: 200");
  ASSERT_TRUE(placed);
  EXPECT_FLOAT_EQ(placed->top[0][4], (16 - 5) / 200.0f);  // second cell
  auto sides = Priors("min_size: 10 step_h: 8 step_w: 16 img_h: 50 img_w: 100");
  ASSERT_TRUE(sides);
  EXPECT_FLOAT_EQ(sides->top[0][0], (8 - 5) / 100.0f);
  EXPECT_FLOAT_EQ(sides->top[0][1], (4 - 5) / 50.0f);
  EXPECT_FALSE(sides->layer().propagates_to(0));
}

TEST(PriorBoxLayer, RefusesWhatIsWrong) {
  for (const char* fields :
       {"", "min_size: 0", "min_size: 10 max_size: 10",
        "min_size: 10 max_size: 20 max_size: 30", "min_size: 10 variance: 0",
        "min_size: 10 variance: 1 variance: 1", "min_size: 10 aspect_ratio: -1",
        "min_size: 10 img_size: 3 img_h: 3", "min_size: 10 img_h: 3",
        "min_size: 10 step_h: 2", "min_size: 10 step: 0",
        "min_size: 10 step: 1 step_h: 1 step_w: 1"}) {
    EXPECT_EQ(
        LayerRunner::Create(
            absl::StrCat("type: 'PriorBox' prior_box_param { ", fields, " }"),
            caffe::TRAIN, {{1, 8, 2, 3}, {1, 3, 100, 300}})
            .status()
            .code(),
        kInvalid)
        << fields;
  }
}

// ---- DetectionOutput: three priors, the first two close, and three classes
// of which 0 is background.

const Values kPriors = {0,    0,    0.4f, 0.4f,  // A
                        0.1f, 0,    0.5f, 0.4f,  // B overlaps A by 0.6
                        0.5f, 0.5f, 0.9f, 0.9f,  // C
                        0.1f, 0.1f, 0.2f, 0.2f, 0.1f, 0.1f,
                        0.2f, 0.2f, 0.1f, 0.1f, 0.2f, 0.2f};

std::unique_ptr<LayerRunner> Detector(const std::string& fields,
                                      int64_t items = 1,
                                      int64_t loc_classes = 1) {
  auto run = LayerRunner::Create(
      absl::StrCat("type: 'DetectionOutput' detection_output_param { "
                   "num_classes: 3 ",
                   fields, " }"),
      caffe::TEST, {{items, 12 * loc_classes}, {items, 9}, {1, 2, 12}});
  EXPECT_TRUE(run.ok()) << fields << ": " << run.status();
  if (!run.ok()) return nullptr;
  (*run)->bottom[0].assign(items * 12 * loc_classes, 0.0f);
  (*run)->bottom[2] = kPriors;
  return *std::move(run);
}

// "item class score" of every row.
std::vector<std::string> Rows(const LayerRunner& r) {
  std::vector<std::string> rows;
  for (size_t i = 0; i < r.top[0].size(); i += 7) {
    rows.push_back(
        absl::StrCat(r.top[0][i], " ", r.top[0][i + 1], " ", r.top[0][i + 2]));
  }
  return rows;
}

const Values kScores = {0.1f, 0.9f, 0.25f,  // A: background, 1, 2
                        0.1f, 0.8f, 0.5f,   // B
                        0.1f, 0.7f, 0.125f};

TEST(DetectionOutputLayer, SuppressesWithinAClass) {
  auto r = Detector(
      "nms_param { nms_threshold: 0.5 } confidence_threshold: "
      "0.125");
  ASSERT_TRUE(r);
  r->bottom[1] = kScores;
  ASSERT_TRUE(r->Forward().ok());
  // B of class 1 falls to A, A of class 2 to B; 0.125 is not above.
  EXPECT_THAT(Rows(*r), ElementsAre("0 1 0.9", "0 1 0.7", "0 2 0.5"));
  EXPECT_EQ(r->top_shapes()[0], Shape({1, 1, 3, 7}));
  EXPECT_FLOAT_EQ(r->top[0][3 + 0], 0);
  EXPECT_FLOAT_EQ(r->top[0][7 + 3], 0.5f);  // C's xmin
  EXPECT_FLOAT_EQ(r->top[0][7 + 6], 0.9f);  // and ymax
}

TEST(DetectionOutputLayer, ThresholdsAndLimits) {
  const struct {
    const char* fields;
    std::vector<std::string> rows;
  } cases[] = {
      {"nms_param { nms_threshold: 0.7 } confidence_threshold: 0.4",
       {"0 1 0.9", "0 1 0.8", "0 1 0.7", "0 2 0.5"}},
      {"nms_param { nms_threshold: 0.5 top_k: 1 } confidence_threshold: 0.2",
       {"0 1 0.9", "0 2 0.5"}},
      {"nms_param { nms_threshold: 0.7 } keep_top_k: 2",
       {"0 1 0.9", "0 1 0.8"}},
      {"nms_param { nms_threshold: 0.7 } background_label_id: 1 "
       "confidence_threshold: 0.2",
       {"0 2 0.5", "0 2 0.25"}},
      // 0.7 shrinks to 0.56 once A is kept: then B overlaps too much.
      {"nms_param { nms_threshold: 0.7 eta: 0.8 } confidence_threshold: 0.6",
       {"0 1 0.9", "0 1 0.7"}},
      {"confidence_threshold: 0.95", {"0 -1 -1"}}};
  for (const auto& c : cases) {
    auto r = Detector(c.fields);
    ASSERT_TRUE(r);
    r->bottom[1] = kScores;
    ASSERT_TRUE(r->Forward().ok());
    EXPECT_EQ(Rows(*r), c.rows) << c.fields;
  }
}

TEST(DetectionOutputLayer, ItemsAndLocationsOfTheirOwn) {
  auto r = Detector(
      "share_location: false code_type: CENTER_SIZE confidence_threshold: 0.6",
      2, 3);
  ASSERT_TRUE(r);
  r->bottom[1].assign(18, 0);
  r->bottom[1][9 + 2 * 3 + 1] = 0.75f;  // item 1, C, class 1
  // C is 0.4 wide: its centre moves by 0.1 * 0.5 * 0.4.
  r->bottom[0][36 + (2 * 3 + 1) * 4] = 0.5f;
  ASSERT_TRUE(r->Forward().ok());
  EXPECT_THAT(Rows(*r), ElementsAre("1 1 0.75"));
  EXPECT_NEAR(r->top[0][3], 0.52f, 1e-6);
  EXPECT_NEAR(r->top[0][5], 0.92f, 1e-6);
  r->bottom[1].assign(18, 0);
  ASSERT_TRUE(r->Forward().ok());
  EXPECT_THAT(Rows(*r), ElementsAre("0 -1 -1", "1 -1 -1"));
}

TEST(DetectionOutputLayer, RefusesWhatIsWrong) {
  const auto code = [](const std::string& fields, std::vector<Shape> bottom) {
    return LayerRunner::Create(
               absl::StrCat("type: 'DetectionOutput' detection_output_param { ",
                            fields, " }"),
               caffe::TEST, std::move(bottom))
        .status()
        .code();
  };
  const std::vector<Shape> good = {{1, 12}, {1, 9}, {1, 2, 12}};
  EXPECT_EQ(code("", good), kInvalid);
  EXPECT_EQ(code("num_classes: 4", good), kInvalid);
  EXPECT_EQ(code("num_classes: 3 share_location: false", good), kInvalid);
  EXPECT_EQ(code("num_classes: 3 nms_param { eta: 0 }", good), kInvalid);
  EXPECT_EQ(code("num_classes: 3", {{1, 12}, {2, 9}, {1, 2, 12}}), kInvalid);
  EXPECT_EQ(code("num_classes: 3", {{1, 12}, {1, 9}, {1, 1, 12}}), kInvalid);
  EXPECT_EQ(
      code("num_classes: 3 save_output_param { output_directory: 'x' }", good),
      absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace cssp::testing
