// Permute, ShuffleChannel, Interp, Upsample: layers on maps, without
// parameters.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/gradient_checker.h"
#include "tests/testing/layer_runner.h"

namespace cssp::testing {
namespace {

using ::testing::ElementsAre;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

absl::StatusCode CodeOf(const std::string& layer, const Shape& bottom) {
  return LayerRunner::Create(layer, caffe::TRAIN, {bottom}).status().code();
}

// ---- Permute

TEST(PermuteLayer, MovesAxes) {
  const Shape shape = {2, 3, 4, 5};
  const struct {
    const char* order;
    int axes[4];
  } cases[] = {{"order: 0 order: 2 order: 3 order: 1", {0, 2, 3, 1}},
               {"order: 3 order: 0", {3, 0, 1, 2}},
               {"order: 1", {1, 0, 2, 3}},
               {"order: 3 order: 2 order: 1 order: 0", {3, 2, 1, 0}}};
  for (const auto& c : cases) {
    const std::string layer =
        absl::StrCat("type: 'Permute' permute_param { ", c.order, " }");
    auto run = LayerRunner::Create(layer, caffe::TRAIN, {shape});
    ASSERT_TRUE(run.ok()) << run.status();
    LayerRunner& r = **run;
    r.bottom[0] = Normal(120, 1);
    ASSERT_TRUE(r.Forward().ok());
    const Shape& top = r.top_shapes()[0];
    for (int64_t i = 0; i < 120; ++i) {
      int64_t at = 0;
      for (int a = 0; a < 4; ++a) {
        EXPECT_EQ(top.dim(a), shape.dim(c.axes[a]));
        at += i / top.count_from(a + 1) % top.dim(a) *
              shape.count_from(c.axes[a] + 1);
      }
      ASSERT_EQ(r.top[0][i], r.bottom[0][at]) << c.order << " " << i;
    }
    EXPECT_EQ(CheckGradients({.layer = layer, .bottom = {shape}}), "");
  }
}

TEST(PermuteLayer, IsAViewWhereNothingMoves) {
  for (const char* order : {"", "permute_param { order: 0 order: 1 }"}) {
    auto run = LayerRunner::Create(absl::StrCat("type: 'Permute' ", order),
                                   caffe::TRAIN, {{2, 3, 4}});
    ASSERT_TRUE(run.ok()) << run.status();
    EXPECT_TRUE((*run)->layer().Traits().is_view);
  }
}

TEST(PermuteLayer, RefusesWhatIsWrong) {
  EXPECT_EQ(CodeOf("type: 'Permute' permute_param { order: 3 }", {2, 3, 4}),
            kInvalid);
  EXPECT_EQ(
      CodeOf("type: 'Permute' permute_param { order: 1 order: 1 }", {2, 3, 4}),
      kInvalid);
}

// ---- ShuffleChannel

TEST(ShuffleChannelLayer, TransposesGroups) {
  const std::string layer =
      "type: 'ShuffleChannel' shuffle_channel_param { group: 3 }";
  auto run = LayerRunner::Create(layer, caffe::TRAIN, {{1, 6, 1, 2}});
  ASSERT_TRUE(run.ok()) << run.status();
  (*run)->bottom[0] = {0, 1, 10, 11, 20, 21, 30, 31, 40, 41, 50, 51};
  ASSERT_TRUE((*run)->Forward().ok());
  EXPECT_THAT((*run)->top[0],
              ElementsAre(0, 1, 20, 21, 40, 41, 10, 11, 30, 31, 50, 51));
  EXPECT_EQ(CheckGradients({.layer = layer, .bottom = {{2, 6, 3, 2}}}), "");
  EXPECT_EQ(CheckGradients({.layer = layer, .bottom = {{2, 6}}}), "");
  EXPECT_EQ(CodeOf(layer, {2, 4, 3, 2}), kInvalid);
  EXPECT_EQ(CodeOf("type: 'ShuffleChannel' shuffle_channel_param { group: 0 }",
                   {2, 4, 3, 2}),
            kInvalid);
}

// ---- Interp

// Bilinear with aligned corners of one map, in double.
double Bilinear(const Values& x, int h, int w, int out_h, int out_w, int row,
                int column) {
  const double y0 = out_h > 1 ? double(h - 1) / (out_h - 1) * row : 0;
  const double x0 = out_w > 1 ? double(w - 1) / (out_w - 1) * column : 0;
  double sum = 0;
  for (int i = 0; i < h; ++i) {
    for (int j = 0; j < w; ++j) {
      sum += x[i * w + j] * std::max(0.0, 1 - std::fabs(y0 - i)) *
             std::max(0.0, 1 - std::fabs(x0 - j));
    }
  }
  return sum;
}

TEST(InterpLayer, ForwardAndGradients) {
  const struct {
    const char* fields;
    int h, w;          // of the bottom
    int out_h, out_w;  // of the top
    int begin = 0, end = 0;
  } cases[] = {{"height: 7 width: 9", 4, 5, 7, 9},
               {"height: 2 width: 3", 4, 5, 2, 3},
               {"height: 4 width: 5", 4, 5, 4, 5},
               {"height: 1 width: 1", 4, 5, 1, 1},
               {"height: 3 width: 2", 1, 1, 3, 2},
               {"zoom_factor: 2", 4, 5, 7, 9},
               {"shrink_factor: 2", 5, 8, 3, 4},
               {"shrink_factor: 2 zoom_factor: 3", 5, 8, 7, 10},
               {"zoom_factor: 3 height: 2 width: 2", 4, 5, 10, 13},
               {"zoom_factor: 2 pad_beg: -1 pad_end: -2", 6, 7, 5, 7, 1, 2}};
  for (const auto& c : cases) {
    const std::string layer =
        absl::StrCat("type: 'Interp' interp_param { ", c.fields, " }");
    auto run = LayerRunner::Create(layer, caffe::TRAIN, {{2, 2, c.h, c.w}});
    ASSERT_TRUE(run.ok()) << c.fields << ": " << run.status();
    LayerRunner& r = **run;
    ASSERT_EQ(r.top_shapes()[0], Shape({2, 2, c.out_h, c.out_w})) << c.fields;
    r.bottom[0] = Normal(4 * c.h * c.w, 1);
    ASSERT_TRUE(r.Forward().ok());
    const int h = c.h - c.begin - c.end, w = c.w - c.begin - c.end;
    for (int n = 0; n < 4; ++n) {
      Values map;  // cropped
      for (int i = 0; i < h; ++i) {
        for (int j = 0; j < w; ++j) {
          map.push_back(
              r.bottom[0][(n * c.h + i + c.begin) * c.w + j + c.begin]);
        }
      }
      for (int i = 0; i < c.out_h * c.out_w; ++i) {
        EXPECT_NEAR(
            r.top[0][n * c.out_h * c.out_w + i],
            Bilinear(map, h, w, c.out_h, c.out_w, i / c.out_w, i % c.out_w),
            1e-5)
            << c.fields;
      }
    }
    EXPECT_EQ(CheckGradients({.layer = layer, .bottom = {{2, 2, c.h, c.w}}}),
              "")
        << c.fields;
  }
}

TEST(InterpLayer, RefusesWhatIsWrong) {
  for (const char* fields :
       {"", "height: 3", "height: 0 width: 0", "zoom_factor: 0",
        "shrink_factor: -1", "zoom_factor: 2 pad_beg: 1",
        "zoom_factor: 2 pad_beg: -2 pad_end: -2"}) {
    EXPECT_EQ(
        CodeOf(absl::StrCat("type: 'Interp' interp_param { ", fields, " }"),
               {1, 2, 4, 4}),
        kInvalid)
        << fields;
  }
  EXPECT_EQ(CodeOf("type: 'Interp' interp_param { zoom_factor: 2 }", {2, 3}),
            kInvalid);
}

// ---- Upsample

TEST(UpsampleLayer, RepeatsElements) {
  const std::string layer = "type: 'Upsample' upsample_param { scale: 2 }";
  auto run = LayerRunner::Create(layer, caffe::TRAIN, {{1, 1, 2, 2}});
  ASSERT_TRUE(run.ok()) << run.status();
  (*run)->bottom[0] = {1, 2, 3, 4};
  ASSERT_TRUE((*run)->Forward().ok());
  EXPECT_THAT((*run)->top[0],
              ElementsAre(1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4));
  for (const char* text :
       {layer.c_str(), "type: 'Upsample' upsample_param { scale: 3 }",
        "type: 'Upsample'"}) {
    EXPECT_EQ(CheckGradients({.layer = text, .bottom = {{2, 3, 2, 3}}}), "")
        << text;
  }
  EXPECT_EQ(
      CodeOf("type: 'Upsample' upsample_param { scale: 0 }", {1, 1, 2, 2}),
      kInvalid);
  EXPECT_EQ(CodeOf(layer, {2, 2}), kInvalid);
}

}  // namespace
}  // namespace cssp::testing
