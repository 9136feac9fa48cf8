#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/gradient_checker.h"
#include "tests/testing/layer_runner.h"

namespace cssp::testing {
namespace {

using ::testing::ElementsAre;

const std::string kTwo = "type: 'Filter' top: 'a' top: 'b'";

TEST(FilterLayer, PassesWhatTheSelectorNames) {
  auto run = LayerRunner::Create(kTwo, caffe::TRAIN, {{4, 2}, {4}, {4, 1, 1}});
  ASSERT_TRUE(run.ok()) << run.status();
  LayerRunner& r = **run;
  EXPECT_EQ(r.top_shapes()[0], Shape({4, 2}));
  r.bottom = {{1, 2, 3, 4, 5, 6, 7, 8}, {10, 20, 30, 40}, {0, 1, 0, -0.5f}};
  ASSERT_TRUE(r.Forward().ok());
  EXPECT_EQ(r.top_shapes()[0], Shape({2, 2}));
  EXPECT_EQ(r.top_shapes()[1], Shape({2}));
  EXPECT_THAT(r.top[0], ElementsAre(3, 4, 7, 8));
  EXPECT_THAT(r.top[1], ElementsAre(20, 40));
  ASSERT_TRUE(r.Backward({{5, 6, 7, 8}, {}}, GradientMode::kWrite).ok());
  EXPECT_THAT(r.bottom_gradient[0], ElementsAre(0, 0, 5, 6, 0, 0, 7, 8));
  EXPECT_THAT(r.bottom_gradient[1], ElementsAre(0, 0, 0, 0));
  r.bottom[2] = {0, 0, 0, 0};
  ASSERT_TRUE(r.Forward().ok());
  EXPECT_EQ(r.top_shapes()[0], Shape({0, 2}));
  ASSERT_TRUE(r.Backward({{}, {}}, GradientMode::kWrite).ok());
  EXPECT_THAT(r.bottom_gradient[1], ElementsAre(0, 0, 0, 0));
  r.bottom[2] = {1, 1, 1, 1};
  ASSERT_TRUE(r.Forward().ok());
  EXPECT_EQ(r.top[0], r.bottom[0]);
}

TEST(FilterLayer, Gradients) {
  EXPECT_EQ(CheckGradients({.layer = kTwo,
                            .bottom = {{5, 2, 3, 2}, {5, 3}, {5}},
                            .values = {{}, {}, {1, 0, 1, 1, 0}}}),
            "");
}

TEST(FilterLayer, RefusesWhatIsWrong) {
  const auto code = [](const std::string& layer, std::vector<Shape> bottom) {
    return LayerRunner::Create(layer, caffe::TRAIN, std::move(bottom))
        .status()
        .code();
  };
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(code(kTwo, {{4, 2}, {4}}), kInvalid);  // two tops, one bottom
  EXPECT_EQ(code(kTwo, {{4, 2}, {4}, {4, 2}}), kInvalid);
  EXPECT_EQ(code(kTwo, {{4, 2}, {3}, {4}}), kInvalid);
}

}  // namespace
}  // namespace cssp::testing
