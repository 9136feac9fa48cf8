#include "worker/layers/data_layer.h"

#include <gmock/gmock.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/testing/layer_runner.h"
#include "tests/unit/worker/data/data_testing.h"
#include "worker/data/record_dealer.h"
#include "worker/layers/data_layers.h"

namespace cssp::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// 24 records of ByteDatum.
class DataLayerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(WriteBase(BaseFormat::kLmdb, base(), 24).ok());
  }
  std::string base() const { return folder_ / "base"; }
  std::string Text(const std::string& data, const std::string& more = "",
                   int tops = 2) const {
    return absl::StrCat("name: 'd' type: 'Data' top: 'data' ",
                        tops > 1 ? "top: 'label' " : "", "data_param { source: '",
                        base(), "' backend: LMDB ", data, " } ", more);
  }
  static std::unique_ptr<LayerRunner> Make(const std::string& text,
                                           caffe::Phase phase = caffe::TRAIN) {
    auto runner = LayerRunner::Create(text, phase, {});
    EXPECT_TRUE(runner.ok()) << runner.status();
    return runner.ok() ? *std::move(runner) : nullptr;
  }
  static std::string Error(const std::string& text) {
    const auto runner = LayerRunner::Create(text, caffe::TRAIN, {});
    EXPECT_FALSE(runner.ok());
    return std::string(runner.status().message());
  }
  TempFolder folder_;
};

// The labels of one forward at `first`: the records' own numbers modulo 10.
Values LabelsAt(LayerRunner& runner, int64_t first) {
  runner.state().first_record = first;
  const absl::Status status = runner.Forward();
  EXPECT_TRUE(status.ok()) << status;
  return runner.top[1];
}

TEST_F(DataLayerTest, GivesTheRecordsThatTheStepNames) {
  const auto runner = Make(Text("batch_size: 4"));
  ASSERT_NE(runner, nullptr);
  EXPECT_EQ(runner->top_shapes()[0], Shape({4, 2, 3, 4}));
  EXPECT_EQ(runner->top_shapes()[1], Shape({4}));
  EXPECT_THAT(LabelsAt(*runner, 0), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(LabelsAt(*runner, 8), ElementsAre(8, 9, 0, 1));
  EXPECT_THAT(LabelsAt(*runner, 16), ElementsAre(6, 7, 8, 9));
  // Back again, and over the epoch's end.
  EXPECT_THAT(LabelsAt(*runner, 2), ElementsAre(2, 3, 4, 5));
  EXPECT_THAT(LabelsAt(*runner, 22), ElementsAre(2, 3, 0, 1));
  EXPECT_EQ(runner->top[0][0], 22);
  EXPECT_EQ(runner->top[0][2 * 24 + 5], 5);
}

TEST_F(DataLayerTest, WorkersTogetherGetWhatOneWouldGet) {
  const auto one = Make(Text("batch_size: 12"));
  const auto a = Make(Text("batch_size: 4")), b = Make(Text("batch_size: 4")),
             c = Make(Text("batch_size: 4"));
  const auto alone = DealSchedule::Create({0, 0, EqualShares(1, 12)}, 1);
  const auto shared = DealSchedule::Create({0, 0, EqualShares(3, 4)}, 1);
  for (int64_t clock = 0; clock < 6; ++clock) {
    const Values whole = LabelsAt(*one, alone->FirstPosition(clock, 0, 0));
    Values parts;
    int rank = 0;
    for (LayerRunner* worker : {a.get(), b.get(), c.get()}) {
      const Values part =
          LabelsAt(*worker, shared->FirstPosition(clock, 0, rank++));
      parts.insert(parts.end(), part.begin(), part.end());
    }
    EXPECT_EQ(parts, whole) << clock;
  }
}

TEST_F(DataLayerTest, UnequalDealsTogetherAreOneLargeBatch) {
  const auto one = Make(Text("batch_size: 12"));
  const auto a = Make(Text("batch_size: 6")), b = Make(Text("batch_size: 6"));
  const auto alone = DealSchedule::Create({0, 0, EqualShares(1, 12)}, 1);
  auto shared = DealSchedule::Create({0, 0, EqualShares(2, 6)}, 1);
  ASSERT_TRUE(shared->AddDeal(2, {{0, 11}, {1, 1}}).ok());
  ASSERT_TRUE(shared->AddDeal(4, {{0, 5}, {1, 7}}).ok());
  for (int64_t clock = 0; clock < 6; ++clock) {
    const Values whole = LabelsAt(*one, alone->FirstPosition(clock, 0, 0));
    Values parts;
    int rank = 0;
    for (LayerRunner* worker : {a.get(), b.get()}) {
      const int64_t batch = shared->BatchOf(clock, rank);
      ASSERT_TRUE(worker->layer().SetBatch(batch));
      ASSERT_TRUE(worker->Reshape({}).ok());
      EXPECT_EQ(worker->top_shapes()[0], Shape({batch, 2, 3, 4}));
      const Values part =
          LabelsAt(*worker, shared->FirstPosition(clock, 0, rank++));
      parts.insert(parts.end(), part.begin(), part.end());
    }
    EXPECT_EQ(parts, whole) << clock;
  }
}

TEST_F(DataLayerTest, ShufflesByEpochWhenAsked) {
  const auto runner = Make(Text("batch_size: 24 shuffle: true"));
  const Values in_order = LabelsAt(*Make(Text("batch_size: 24")), 0);
  const Values first = LabelsAt(*runner, 0), second = LabelsAt(*runner, 24);
  EXPECT_NE(first, in_order);
  EXPECT_NE(first, second);
  EXPECT_THAT(first, ::testing::UnorderedElementsAreArray(in_order));
  EXPECT_EQ(LabelsAt(*runner, 0), first);
}

TEST_F(DataLayerTest, TakesOldTransformFieldsAndOneTop) {
  const auto runner =
      Make(Text("batch_size: 2 scale: 0.5 crop_size: 2", "", 1), caffe::TEST);
  ASSERT_NE(runner, nullptr);
  ASSERT_EQ(runner->top_shapes().size(), 1u);
  EXPECT_EQ(runner->top_shapes()[0], Shape({2, 2, 2, 2}));
  ASSERT_TRUE(runner->Forward().ok());
  // The centre of a 3 x 4 plane that counts from 0: row 0, column 1.
  EXPECT_THAT(Values(runner->top[0].begin(), runner->top[0].begin() + 4),
              ElementsAre(0.5f, 1, 2.5f, 3));
}

TEST_F(DataLayerTest, WaitIsMeasured) {
  const auto runner = Make(Text("batch_size: 2"));
  EXPECT_EQ(runner->layer().data_wait_seconds(), 0);
  ASSERT_TRUE(runner->Forward().ok());
  EXPECT_GT(runner->layer().data_wait_seconds(), 0);
}

TEST_F(DataLayerTest, SaysWhatIsWrong) {
  EXPECT_THAT(Error(Text("batch_size: 0")), HasSubstr("batch_size"));
  EXPECT_THAT(Error(Text("batch_size: 1 prefetch: 0")), HasSubstr("prefetch"));
  EXPECT_THAT(Error("type: 'Data' top: 'x' data_param { batch_size: 1 }"),
              HasSubstr("source"));
  EXPECT_THAT(Error("type: 'Data' top: 'x' data_param { batch_size: 1 "
                    "backend: LMDB source: '/no/mnist_train_lmdb' }"),
              ::testing::AllOf(HasSubstr("/no/mnist_train_lmdb"),
                               HasSubstr("create_mnist.sh")));
  EXPECT_THAT(Error(Text("batch_size: 1", "transform_param { crop_size: 9 }")),
              HasSubstr("crop_size 9"));
  EXPECT_THAT(Error(Text("batch_size: 1",
                         "transform_param { mean_file: '/no/mean' }")),
              HasSubstr("/no/mean"));
}

TEST_F(DataLayerTest, NamesTheRecordOfAnotherSize) {
  const std::string path = folder_ / "mixed";
  auto writer = CreateBase(BaseFormat::kLmdb, path);
  ASSERT_TRUE(writer.ok());
  caffe::Datum small = ByteDatum(1);
  small.set_channels(1);
  small.set_data(std::string(12, 'x'));
  ASSERT_TRUE((*writer)->Put("0", ByteDatum(0).SerializeAsString()).ok());
  ASSERT_TRUE((*writer)->Put("1", small.SerializeAsString()).ok());
  ASSERT_TRUE((*writer)->Commit().ok());
  const auto runner = Make(
      absl::StrCat("type: 'Data' top: 'x' data_param { batch_size: 2 backend: "
                   "LMDB source: '", path, "' }"));
  ASSERT_NE(runner, nullptr);
  const absl::Status status = runner->Forward();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("record 1"));
}

TEST(DataLayerLevelDb, ReadsIt) {
  TempFolder folder;
  ASSERT_TRUE(WriteBase(BaseFormat::kLevelDb, folder / "base", 6).ok());
  // LEVELDB is the field's default.
  const auto runner = LayerRunner::Create(
      absl::StrCat("type: 'Data' top: 'x' top: 'y' data_param { batch_size: 3 "
                   "source: '", folder / "base", "' }"),
      caffe::TRAIN, {});
  ASSERT_TRUE(runner.ok()) << runner.status();
  EXPECT_THAT(LabelsAt(**runner, 3), ElementsAre(3, 4, 5));
}

}  // namespace
}  // namespace cssp::testing
