// DummyData and Input: tops without a base.
#include "worker/layers/dummy_data_layer.h"

#include <gmock/gmock.h>

#include <memory>
#include <string>

#include "tests/testing/layer_runner.h"

namespace cssp::testing {
namespace {

using ::testing::Each;

absl::StatusOr<std::unique_ptr<LayerRunner>> Make(const std::string& param) {
  return LayerRunner::Create("name: 'd' type: 'DummyData' top: 'a' top: 'b' "
                             "dummy_data_param { " + param + " }",
                             caffe::TRAIN, {});
}

TEST(DummyDataLayer, FillsEachTopItsWay) {
  const auto runner = Make(
      "shape { dim: 2 dim: 3 } shape { dim: 4 } "
      "data_filler { value: 2.5 } data_filler { type: 'gaussian' std: 1 }");
  ASSERT_TRUE(runner.ok()) << runner.status();
  EXPECT_EQ((*runner)->top_shapes()[0], Shape({2, 3}));
  EXPECT_EQ((*runner)->top_shapes()[1], Shape({4}));
  ASSERT_TRUE((*runner)->Forward().ok());
  EXPECT_THAT((*runner)->top[0], Each(2.5f));
  const Values first = (*runner)->top[1];
  // The same step draws the same; the next one, another worker, draws anew.
  ASSERT_TRUE((*runner)->Forward().ok());
  EXPECT_EQ((*runner)->top[1], first);
  (*runner)->state().clock = 1;
  ASSERT_TRUE((*runner)->Forward().ok());
  EXPECT_NE((*runner)->top[1], first);
  (*runner)->state().clock = 0;
  (*runner)->state().rank = 1;
  ASSERT_TRUE((*runner)->Forward().ok());
  EXPECT_NE((*runner)->top[1], first);
}

TEST(DummyDataLayer, OneShapeAndFillerServeAll) {
  const auto runner = Make("num: 2 channels: 3 height: 1 width: 5");
  ASSERT_TRUE(runner.ok()) << runner.status();
  for (int i = 0; i < 2; ++i)
    EXPECT_EQ((*runner)->top_shapes()[i], Shape({2, 3, 1, 5}));
  ASSERT_TRUE((*runner)->Forward().ok());
  EXPECT_THAT((*runner)->top[0], Each(0));
  EXPECT_THAT((*runner)->top[1], Each(0));
}

TEST(DummyDataLayer, RefusesWhatDoesNotAddUp) {
  EXPECT_FALSE(Make("").ok());
  EXPECT_FALSE(Make("shape { dim: 1 } shape { dim: 1 } shape { dim: 1 }").ok());
  EXPECT_FALSE(Make("num: 1 num: 2 channels: 1 height: 1 width: 1").ok());
  EXPECT_FALSE(Make("num: 1 channels: 1 height: 1 width: 1 shape { dim: 1 }")
                   .ok());
  EXPECT_FALSE(Make("shape { dim: 1 } data_filler { type: 'nonesuch' }").ok());
  EXPECT_FALSE(Make("shape { dim: -1 }").ok());
}

TEST(InputLayer, ShapesItsTops) {
  const auto runner = LayerRunner::Create(
      "type: 'Input' top: 'a' top: 'b' input_param { shape { dim: 2 dim: 3 } }",
      caffe::TEST, {});
  ASSERT_TRUE(runner.ok()) << runner.status();
  EXPECT_EQ((*runner)->top_shapes()[0], Shape({2, 3}));
  EXPECT_EQ((*runner)->top_shapes()[1], Shape({2, 3}));
  EXPECT_FALSE(
      LayerRunner::Create("type: 'Input' top: 'a' input_param { }",
                          caffe::TEST, {})
          .ok());
}

}  // namespace
}  // namespace cssp::testing
