#include "worker/layers/memory_data_layer.h"

#include <gmock/gmock.h>

#include <memory>
#include <vector>

#include "tests/testing/layer_runner.h"
#include "worker/data/image_codec.h"

namespace cssp::testing {
namespace {

using ::testing::ElementsAre;

std::unique_ptr<LayerRunner> Make(const std::string& more = "") {
  auto runner = LayerRunner::Create(
      "name: 'm' type: 'MemoryData' top: 'data' top: 'label' "
      "memory_data_param { batch_size: 2 channels: 1 height: 1 width: 2 } " +
          more,
      caffe::TEST, {});
  EXPECT_TRUE(runner.ok()) << runner.status();
  return runner.ok() ? *std::move(runner) : nullptr;
}

MemoryDataLayer& Memory(LayerRunner& runner) {
  return dynamic_cast<MemoryDataLayer&>(runner.layer());
}

TEST(MemoryDataLayer, GivesItsArraysInTurn) {
  const auto runner = Make();
  ASSERT_NE(runner, nullptr);
  EXPECT_EQ(runner->Forward().code(), absl::StatusCode::kFailedPrecondition);
  const Values data{0, 1, 2, 3, 4, 5, 6, 7}, labels{10, 11, 12, 13};
  ASSERT_TRUE(Memory(*runner).Reset(data, labels, 4).ok());
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(runner->Forward().ok());
    EXPECT_THAT(runner->top[0], ElementsAre(0, 1, 2, 3));
    EXPECT_THAT(runner->top[1], ElementsAre(10, 11));
    ASSERT_TRUE(runner->Forward().ok());
    EXPECT_THAT(runner->top[0], ElementsAre(4, 5, 6, 7));
    EXPECT_THAT(runner->top[1], ElementsAre(12, 13));
  }
  // A reset starts over.
  ASSERT_TRUE(runner->Forward().ok());
  ASSERT_TRUE(Memory(*runner).Reset(data, labels, 2).ok());
  ASSERT_TRUE(runner->Forward().ok());
  EXPECT_THAT(runner->top[1], ElementsAre(10, 11));
}

TEST(MemoryDataLayer, RefusesWrongCounts) {
  const auto runner = Make();
  const Values data(8, 0), labels(4, 0);
  for (const int64_t n : {0, 3, 6, -2})
    EXPECT_FALSE(Memory(*runner).Reset(data, labels, n).ok()) << n;
  EXPECT_FALSE(Memory(*runner).Reset(data, Values(1, 0), 4).ok());
}

TEST(MemoryDataLayer, TransformsDatums) {
  const auto runner = Make("transform_param { scale: 2 mean_value: 1 }");
  std::vector<caffe::Datum> datums(2);
  for (int i = 0; i < 2; ++i) {
    datums[i].set_channels(1);
    datums[i].set_height(1);
    datums[i].set_width(2);
    datums[i].set_label(i + 5);
    datums[i].set_data(i == 0 ? "\x01\x02" : "\x03\x04");
  }
  ASSERT_TRUE(Memory(*runner).AddDatums(datums, 1).ok());
  ASSERT_TRUE(runner->Forward().ok());
  EXPECT_THAT(runner->top[0], ElementsAre(0, 2, 4, 6));
  EXPECT_THAT(runner->top[1], ElementsAre(5, 6));
  datums[1].set_width(3);
  datums[1].set_data("abc");
  EXPECT_EQ(Memory(*runner).AddDatums(datums, 1).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(MemoryDataLayer, DecodesDatumsInTheColourAskedFor) {
  const auto runner = Make("transform_param { force_gray: true }");
  Image image;
  image.Resize(3, 1, 2);
  image.pixels = {10, 10, 10, 90, 90, 90};
  const auto bytes = EncodeImage(image, ImageFormat::kPng);
  ASSERT_TRUE(bytes.ok());
  std::vector<caffe::Datum> datums(2);
  for (caffe::Datum& datum : datums) {
    datum.set_encoded(true);
    datum.set_data(*bytes);
  }
  const absl::Status added = Memory(*runner).AddDatums(datums, 1);
  ASSERT_TRUE(added.ok()) << added;
  ASSERT_TRUE(runner->Forward().ok());
  EXPECT_THAT(runner->top[0], ElementsAre(10, 90, 10, 90));
}

}  // namespace
}  // namespace cssp::testing
