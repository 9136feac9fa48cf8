// Concat, Slice, Split, Flatten, Reshape, Silence.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/gradient_checker.h"
#include "tests/testing/layer_runner.h"

namespace cssp::testing {
namespace {

constexpr Offer kOffers[] = {Offer::kForceCaffe, Offer::kCaffe,
                             Offer::kBlocked8, Offer::kBlocked16};

TEST(ConcatLayer, ForwardAndGradientsOnEveryAxis) {
  for (int axis = 0; axis < 4; ++axis) {
    Shape a = {2, 8, 3, 2}, b = a;
    b.set_dim(axis, axis == 1 ? 16 : 1);
    const std::string layer =
        "type: 'Concat' concat_param { axis: " + std::to_string(axis) + " }";
    for (Offer offer : kOffers) {
      auto run = LayerRunner::Create(layer, caffe::TRAIN, {a, b}, offer);
      ASSERT_TRUE(run.ok()) << run.status();
      LayerRunner& r = **run;
      r.bottom = {Normal(a.count(), 1), Normal(b.count(), 2)};
      ASSERT_TRUE(r.Forward().ok());
      const int64_t run_a = a.count_from(axis), run_b = b.count_from(axis);
      for (int64_t i = 0; i < r.top_shapes()[0].count(); ++i) {
        const int64_t row = i / (run_a + run_b), at = i % (run_a + run_b);
        EXPECT_EQ(r.top[0][i], at < run_a
                                   ? r.bottom[0][row * run_a + at]
                                   : r.bottom[1][row * run_b + at - run_a]);
      }
    }
    EXPECT_EQ(CheckGradients({.layer = layer, .bottom = {a, b}}), "") << axis;
  }
}

TEST(ConcatLayer, BlockedWhereChannelsFillBlocks) {
  auto fits = LayerRunner::Create("type: 'Concat'", caffe::TRAIN,
                                  {{1, 8, 2, 2}, {1, 16, 2, 2}},
                                  Offer::kBlocked8);
  auto not_whole = LayerRunner::Create("type: 'Concat'", caffe::TRAIN,
                                       {{1, 8, 2, 2}, {1, 12, 2, 2}},
                                       Offer::kBlocked8);
  ASSERT_TRUE(fits.ok() && not_whole.ok());
  EXPECT_EQ((*fits)->formats().top[0], Format::kBlocked8);
  EXPECT_EQ((*not_whole)->formats().top[0], Format::kCaffe);
  EXPECT_EQ(CheckGradients({.layer = "type: 'Concat'",
                            .bottom = {{1, 3, 2, 2}, {1, 12, 2, 2}}}),
            "");
}

TEST(ConcatLayer, LegacyFieldAndMistakes) {
  auto run = LayerRunner::Create("type: 'Concat' concat_param { concat_dim: 0 "
                                 "}",
                                 caffe::TRAIN, {{2, 3}, {1, 3}});
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ((*run)->top_shapes()[0], Shape({3, 3}));
  EXPECT_FALSE(
      LayerRunner::Create("type: 'Concat'", caffe::TRAIN, {{2, 3}, {1, 3}})
          .ok());
  EXPECT_FALSE(LayerRunner::Create(
                   "type: 'Concat' concat_param { concat_dim: 0 axis: 1 }",
                   caffe::TRAIN, {{2, 3}, {2, 3}})
                   .ok());
}

TEST(SliceLayer, ForwardAndGradients) {
  auto run = LayerRunner::Create(
      "type: 'Slice' top: 'a' top: 'b' top: 'c' slice_param { slice_point: 1 "
      "slice_point: 3 }",
      caffe::TRAIN, {{2, 4}});
  ASSERT_TRUE(run.ok()) << run.status();
  (*run)->bottom[0] = {1, 2, 3, 4, 5, 6, 7, 8};
  ASSERT_TRUE((*run)->Forward().ok());
  EXPECT_EQ((*run)->top[0], Values({1, 5}));
  EXPECT_EQ((*run)->top[1], Values({2, 3, 6, 7}));
  EXPECT_EQ((*run)->top[2], Values({4, 8}));
  // A top without a gradient counts as zero.
  ASSERT_TRUE(
      (*run)->Backward({{1, 2}, {}, {3, 4}}, GradientMode::kWrite).ok());
  EXPECT_EQ((*run)->bottom_gradient[0], Values({1, 0, 0, 3, 2, 0, 0, 4}));
  for (const char* layer :
       {"type: 'Slice' top: 'a' top: 'b'",
        "type: 'Slice' top: 'a' top: 'b' slice_param { axis: 2 slice_point: 1 "
        "}",
        "type: 'Slice' top: 'a' top: 'b' slice_param { slice_dim: 0 }"}) {
    EXPECT_EQ(CheckGradients({.layer = layer, .bottom = {{2, 16, 3, 2}}}), "")
        << layer;
  }
}

TEST(SliceLayer, RefusesWhatIsWrong) {
  for (const char* layer :
       {"type: 'Slice' top: 'a' top: 'b' top: 'c'",  // 4 in 3 parts
        "type: 'Slice' top: 'a' top: 'b' slice_param { slice_point: 4 }",
        "type: 'Slice' top: 'a' top: 'b' slice_param { slice_point: 1 "
        "slice_point: 2 }"}) {
    EXPECT_FALSE(LayerRunner::Create(layer, caffe::TRAIN, {{2, 4}}).ok())
        << layer;
  }
}

TEST(SplitLayer, CopiesAndSums) {
  const std::string layer = "type: 'Split' top: 'a' top: 'b' top: 'c'";
  auto run = LayerRunner::Create(layer, caffe::TRAIN, {{3}});
  ASSERT_TRUE(run.ok()) << run.status();
  (*run)->bottom[0] = {1, 2, 3};
  ASSERT_TRUE((*run)->Forward().ok());
  for (int i = 0; i < 3; ++i) EXPECT_EQ((*run)->top[i], Values({1, 2, 3}));
  const struct {
    std::vector<Values> tops;
    Values sum;
  } cases[] = {{{{1, 1, 1}, {2, 2, 2}, {4, 4, 4}}, {7, 7, 7}},
               {{{}, {2, 2, 2}, {4, 4, 4}}, {6, 6, 6}},
               {{{}, {}, {4, 4, 4}}, {4, 4, 4}},
               {{{}, {}, {}}, {0, 0, 0}}};
  for (const auto& c : cases) {
    ASSERT_TRUE((*run)->Backward(c.tops, GradientMode::kWrite).ok());
    EXPECT_EQ((*run)->bottom_gradient[0], c.sum);
    ASSERT_TRUE((*run)->Backward(c.tops, GradientMode::kAdd, 10).ok());
    EXPECT_EQ((*run)->bottom_gradient[0][0], c.sum[0] + 10);
  }
  EXPECT_EQ(CheckGradients({.layer = layer, .bottom = {{2, 5, 2, 2}}}), "");
}

Shape TopShape(const std::string& layer, const Shape& bottom) {
  auto run = LayerRunner::Create(layer, caffe::TRAIN, {bottom});
  if (!run.ok()) return Shape({-0, 0, 0, 0, 0, 0, 0});
  EXPECT_TRUE((*run)->layer().Traits().is_view);
  return (*run)->top_shapes()[0];
}

TEST(FlattenLayer, Shapes) {
  const Shape s = {2, 3, 4, 5};
  EXPECT_EQ(TopShape("type: 'Flatten'", s), Shape({2, 60}));
  EXPECT_EQ(TopShape("type: 'Flatten' flatten_param { axis: 2 }", s),
            Shape({2, 3, 20}));
  EXPECT_EQ(
      TopShape("type: 'Flatten' flatten_param { axis: 0 end_axis: -2 }", s),
      Shape({24, 5}));
  EXPECT_FALSE(LayerRunner::Create(
                   "type: 'Flatten' flatten_param { axis: 3 end_axis: 1 }",
                   caffe::TRAIN, {s})
                   .ok());
}

TEST(ReshapeLayer, Shapes) {
  const Shape s = {2, 3, 4, 5};
  const auto reshape = [&](const std::string& fields) {
    return TopShape("type: 'Reshape' reshape_param { " + fields + " }", s);
  };
  EXPECT_EQ(reshape("shape { dim: 0 dim: -1 }"), Shape({2, 60}));
  EXPECT_EQ(reshape("shape { dim: 6 dim: 20 }"), Shape({6, 20}));
  EXPECT_EQ(reshape("shape { dim: -1 dim: 2 } axis: 1 num_axes: 2"),
            Shape({2, 6, 2, 5}));
  EXPECT_EQ(reshape("shape { dim: 1 dim: 1 } axis: -1"),
            Shape({2, 3, 4, 5, 1, 1}));
  EXPECT_EQ(reshape("shape { dim: 1 } axis: 0 num_axes: 0"),
            Shape({1, 2, 3, 4, 5}));
  for (const char* fields :
       {"shape { dim: 7 }", "shape { dim: -1 dim: -1 }",
        "shape { dim: -1 dim: 7 }", "shape { dim: -2 }", "axis: 5",
        "shape { dim: 1 } num_axes: 5",
        "shape { dim: 0 dim: 0 dim: 0 dim: 0 dim: 0 }"}) {
    EXPECT_FALSE(LayerRunner::Create(std::string("type: 'Reshape' "
                                                 "reshape_param { ") +
                                         fields + " }",
                                     caffe::TRAIN, {s})
                     .ok())
        << fields;
  }
}

TEST(SilenceLayer, HasNoTops) {
  auto run = LayerRunner::Create("type: 'Silence'", caffe::TRAIN,
                                 {{2, 3}, {4}});
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_TRUE((*run)->top_shapes().empty());
  EXPECT_FALSE((*run)->layer().propagates_to(1));
  EXPECT_TRUE((*run)->Forward().ok());
}

}  // namespace
}  // namespace cssp::testing
