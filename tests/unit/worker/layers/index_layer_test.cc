// Tile, Embed, Crop, BatchReindex, Parameter: layers that move elements.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/gradient_checker.h"
#include "tests/testing/layer_runner.h"
#include "worker/layers/strided_map.h"

namespace cssp::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::unique_ptr<LayerRunner> Make(const std::string& layer,
                                  const std::vector<Shape>& bottom) {
  auto run = LayerRunner::Create(layer, caffe::TRAIN, bottom);
  EXPECT_TRUE(run.ok()) << layer << ": " << run.status();
  return run.ok() ? *std::move(run) : nullptr;
}

absl::StatusCode CodeOf(const std::string& layer,
                        const std::vector<Shape>& bottom) {
  return LayerRunner::Create(layer, caffe::TRAIN, bottom).status().code();
}

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST(TileLayer, RepeatsAlongEveryAxis) {
  const Shape shape = {2, 3, 4, 2};
  for (int axis = -4; axis < 4; ++axis) {
    const std::string layer =
        "type: 'Tile' tile_param { tiles: 3 axis: " + std::to_string(axis) +
        " }";
    auto r = Make(layer, {shape});
    ASSERT_TRUE(r);
    r->bottom[0] = Normal(shape.count(), 1);
    ASSERT_TRUE(r->Forward().ok());
    const int a = (axis + 4) % 4;
    Shape expected = shape;
    expected.set_dim(a, 3 * shape.dim(a));
    ASSERT_EQ(r->top_shapes()[0], expected);
    const int64_t inner = shape.count_from(a + 1), extent = expected.dim(a);
    for (int64_t i = 0; i < expected.count(); ++i) {
      const int64_t outer = i / inner / extent;
      const int64_t at = i / inner % extent % shape.dim(a);
      EXPECT_EQ(r->top[0][i],
                r->bottom[0][(outer * shape.dim(a) + at) * inner + i % inner]);
    }
    EXPECT_EQ(CheckGradients({.layer = layer, .bottom = {shape}}), "") << axis;
  }
  EXPECT_EQ(CodeOf("type: 'Tile'", {shape}), kInvalid);
  EXPECT_EQ(CodeOf("type: 'Tile' tile_param { tiles: 2 axis: 4 }", {shape}),
            kInvalid);
}

const char kEmbed[] =
    "type: 'Embed' embed_param { input_dim: 5 num_output: 70 }";

TEST(EmbedLayer, LooksRowsUp) {
  auto r = Make(kEmbed, {{2, 3}});
  ASSERT_TRUE(r);
  EXPECT_EQ(r->top_shapes()[0], Shape({2, 3, 70}));
  r->bottom[0] = {4, 0, 1, 1, 3, 4};
  r->param = {Normal(350, 1), Normal(70, 2)};
  ASSERT_TRUE(r->Forward().ok());
  for (int i = 0; i < 6; ++i) {
    for (int o = 0; o < 70; ++o) {
      const int row = static_cast<int>(r->bottom[0][i]);
      EXPECT_EQ(r->top[0][i * 70 + o],
                r->param[0][row * 70 + o] + r->param[1][o]);
    }
  }
}

TEST(EmbedLayer, Gradients) {
  for (const char* layer :
       {kEmbed,
        "type: 'Embed' embed_param { input_dim: 5 num_output: 3 bias_term: "
        "false }"}) {
    EXPECT_EQ(CheckGradients({.layer = layer,
                              .bottom = {{2, 3}},
                              .values = {{4, 0, 1, 1, 3, 1}}}),
              "");
  }
}

TEST(EmbedLayer, RefusesWhatIsWrong) {
  auto r = Make(kEmbed, {{2}});
  ASSERT_TRUE(r);
  for (float input : {-1.0f, 5.0f, 1.5f, 1e30f, std::nanf("")}) {
    r->bottom[0] = {0, input};
    const absl::Status status = r->Forward();
    EXPECT_EQ(status.code(), kInvalid) << input;
    EXPECT_THAT(std::string(status.message()), HasSubstr("position 1"));
  }
  EXPECT_EQ(CodeOf("type: 'Embed' embed_param { num_output: 3 }", {{2}}),
            kInvalid);
  EXPECT_EQ(CodeOf("type: 'Embed' embed_param { input_dim: 3 }", {{2}}),
            kInvalid);
}

TEST(CropLayer, CutsAtTheOffset) {
  const struct {
    const char* fields;
    Shape like, top;
    int64_t offset[4];
  } cases[] = {
      {"", {9, 9, 2, 3}, {2, 4, 2, 3}, {0, 0, 0, 0}},
      {"offset: 1", {9, 9, 2, 3}, {2, 4, 2, 3}, {0, 0, 1, 1}},
      {"offset: 3 offset: 2", {1, 1, 2, 3}, {2, 4, 2, 3}, {0, 0, 3, 2}},
      {"axis: 1 offset: 1 offset: 0 offset: 2",
       {7, 3, 5, 1},
       {2, 3, 5, 1},
       {0, 1, 0, 2}},
      {"axis: 0 offset: 1 offset: 1 offset: 1 offset: 1",
       {1, 3, 4, 4},
       {1, 3, 4, 4},
       {1, 1, 1, 1}},
      {"axis: -1 offset: 4", {3, 3, 3, 1}, {2, 4, 5, 1}, {0, 0, 0, 4}}};
  const Shape shape = {2, 4, 5, 5};
  for (const auto& c : cases) {
    const std::string layer =
        "type: 'Crop' crop_param { " + std::string(c.fields) + " }";
    auto r = Make(layer, {shape, c.like});
    ASSERT_TRUE(r);
    ASSERT_EQ(r->top_shapes()[0], c.top) << c.fields;
    r->bottom[0] = Normal(shape.count(), 1);
    ASSERT_TRUE(r->Forward().ok());
    for (int64_t i = 0; i < c.top.count(); ++i) {
      int64_t at = 0;
      for (int a = 0; a < 4; ++a) {
        const int64_t index = i / c.top.count_from(a + 1) % c.top.dim(a);
        at = at * shape.dim(a) + index + c.offset[a];
      }
      EXPECT_EQ(r->top[0][i], r->bottom[0][at]) << c.fields;
    }
    EXPECT_EQ(CheckGradients({.layer = layer, .bottom = {shape, c.like}}), "")
        << c.fields;
  }
}

TEST(CropLayer, RefusesWhatIsWrong) {
  const Shape shape = {2, 4, 5, 5};
  const auto code = [&](const std::string& fields, const Shape& like) {
    return CodeOf("type: 'Crop' crop_param { " + fields + " }", {shape, like});
  };
  EXPECT_EQ(code("offset: 4", {2, 4, 2, 1}), kInvalid);
  EXPECT_EQ(code("", {2, 4, 6, 5}), kInvalid);
  EXPECT_EQ(code("axis: 4", {2, 4, 5, 5}), kInvalid);
  EXPECT_EQ(code("axis: 1 offset: 0 offset: 0", {2, 4, 5, 5}), kInvalid);
  EXPECT_EQ(code("", {4, 5, 5}), kInvalid);
}

TEST(BatchReindexLayer, SelectsAndRepeats) {
  auto r = Make("type: 'BatchReindex'", {{3, 2}, {4}});
  ASSERT_TRUE(r);
  r->bottom = {{1, 2, 3, 4, 5, 6}, {2, 0, 2, 1}};
  ASSERT_TRUE(r->Forward().ok());
  EXPECT_EQ(r->top_shapes()[0], Shape({4, 2}));
  EXPECT_THAT(r->top[0], ElementsAre(5, 6, 1, 2, 5, 6, 3, 4));
  EXPECT_EQ(CheckGradients({.layer = "type: 'BatchReindex'",
                            .bottom = {{3, 2, 2, 3}, {5}},
                            .values = {{}, {2, 0, 2, 2, 0}}}),
            "");
  for (float index : {-0.5f, 3.0f, std::nanf("")}) {
    r->bottom[1][3] = index;
    EXPECT_EQ(r->Forward().code(), kInvalid);
  }
  EXPECT_EQ(CodeOf("type: 'BatchReindex'", {{3, 2}, {4, 1}}), kInvalid);
}

TEST(ParameterLayer, IsItsParameter) {
  const std::string layer =
      "type: 'Parameter' parameter_param { shape { dim: 2 dim: 3 } }";
  auto r = Make(layer, {});
  ASSERT_TRUE(r);
  r->param[0] = {1, 2, 3, 4, 5, 6};
  ASSERT_TRUE(r->Forward().ok());
  EXPECT_EQ(r->top[0], r->param[0]);
  EXPECT_EQ(r->top_shapes()[0], Shape({2, 3}));
  EXPECT_EQ(CheckGradients({.layer = layer, .bottom = {}}), "");
  EXPECT_EQ(
      CodeOf("type: 'Parameter' parameter_param { shape { dim: -2 } }", {}),
      kInvalid);
}

}  // namespace
}  // namespace cssp::testing
