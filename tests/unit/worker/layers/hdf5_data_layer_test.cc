// HDF5Data.
#include <gmock/gmock.h>

#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/model_file/hdf5_rows.h"
#include "tests/testing/layer_runner.h"
#include "tests/unit/worker/data/data_testing.h"

namespace cssp::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Rows first .. first + rows - 1: data is 2 x 2 of the row's number, label it.
void WriteRows(const std::string& path, int first, int rows,
               int64_t width = 2) {
  auto writer = Hdf5RowWriter::Create(path);
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (int i = first; i < first + rows; ++i) {
    const std::vector<float> data(2 * width, static_cast<float>(i));
    ASSERT_TRUE((*writer)->Append("data", {1, 2, width}, data).ok());
    ASSERT_TRUE((*writer)->Append("label", {1}, {data[0]}).ok());
  }
}

class Hdf5DataLayerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    WriteRows(folder_ / "a.h5", 0, 5);
    WriteRows(folder_ / "b.h5", 5, 3);
    WriteFile(list(), absl::StrCat(folder_ / "a.h5", "\n\n", folder_ / "b.h5"));
  }
  std::string list() const { return folder_ / "list.txt"; }
  std::string Text(const std::string& data, const std::string& more = "",
                   const std::string& second = "label") const {
    return absl::StrCat("type: 'HDF5Data' top: 'data' top: '", second,
                        "' hdf5_data_param { source: '", list(), "' ", data,
                        " } ", more);
  }
  static std::unique_ptr<LayerRunner> Make(const std::string& text) {
    auto runner = LayerRunner::Create(text, caffe::TRAIN, {});
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

TEST_F(Hdf5DataLayerTest, GivesRowsOverFilesAndEpochs) {
  const auto runner = Make(Text("batch_size: 4"));
  ASSERT_NE(runner, nullptr);
  EXPECT_EQ(runner->top_shapes()[0], Shape({4, 2, 2}));
  EXPECT_EQ(runner->top_shapes()[1], Shape({4}));
  for (const auto& [first, labels] :
       std::vector<std::pair<int64_t, Values>>{{0, {0, 1, 2, 3}},
                                               {4, {4, 5, 6, 7}},
                                               {6, {6, 7, 0, 1}},
                                               {22, {6, 7, 0, 1}}}) {
    runner->state().first_record = first;
    ASSERT_TRUE(runner->Forward().ok());
    EXPECT_EQ(runner->top[1], labels) << first;
    EXPECT_EQ(runner->top[0][3], labels[0]);
    EXPECT_EQ(runner->top[0][15], labels[3]);
  }
  EXPECT_GT(runner->layer().data_wait_seconds(), 0);
}

TEST_F(Hdf5DataLayerTest, TakesAnotherBatch) {
  const auto runner = Make(Text("batch_size: 4"));
  ASSERT_NE(runner, nullptr);
  ASSERT_TRUE(runner->Forward().ok());
  ASSERT_TRUE(runner->layer().SetBatch(3));
  ASSERT_TRUE(runner->Reshape({}).ok());
  EXPECT_EQ(runner->top_shapes()[0], Shape({3, 2, 2}));
  runner->state().first_record = 4;
  ASSERT_TRUE(runner->Forward().ok());
  EXPECT_EQ(runner->top[1], Values({4, 5, 6}));
  EXPECT_EQ(runner->top[0][11], 6);
}

TEST_F(Hdf5DataLayerTest, ShufflesFilesAndRowsWithinThem) {
  const auto runner = Make(Text("batch_size: 8 shuffle: true"));
  ASSERT_NE(runner, nullptr);
  std::vector<Values> epochs;
  for (int64_t epoch = 0; epoch < 6; ++epoch) {
    runner->state().first_record = 8 * epoch;
    ASSERT_TRUE(runner->Forward().ok());
    epochs.push_back(runner->top[1]);
    EXPECT_THAT(epochs.back(),
                ::testing::UnorderedElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
    // A file's rows stay together.
    const auto of_a = [](float label) { return label < 5; };
    const int changes = std::inner_product(
        epochs.back().begin() + 1, epochs.back().end(), epochs.back().begin(),
        0, std::plus<>(),
        [&](float a, float b) { return of_a(a) != of_a(b) ? 1 : 0; });
    EXPECT_EQ(changes, 1);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  runner->state().first_record = 0;
  ASSERT_TRUE(runner->Forward().ok());
  EXPECT_EQ(runner->top[1], epochs[0]);
}

TEST_F(Hdf5DataLayerTest, SaysWhatIsWrongAndWhere) {
  EXPECT_THAT(Error(Text("batch_size: 0")), HasSubstr("batch_size"));
  EXPECT_THAT(Error(Text("batch_size: 1", "transform_param { scale: 2 }")),
              HasSubstr("transform_param"));
  EXPECT_THAT(
      Error(Text("batch_size: 1", "", "labels")),
      AllOf(HasSubstr("list.txt:1"), HasSubstr("a.h5"), HasSubstr("'labels'")));
  WriteRows(folder_ / "b.h5", 5, 3, 3);
  EXPECT_THAT(Error(Text("batch_size: 1")),
              AllOf(HasSubstr("list.txt:3"), HasSubstr("2 x 3")));
  WriteFile(folder_ / "b.h5", "text");
  EXPECT_THAT(Error(Text("batch_size: 1")),
              AllOf(HasSubstr("list.txt:3"), HasSubstr("no HDF5 file")));
  WriteFile(list(), "/no/such.h5\n");
  EXPECT_THAT(Error(Text("batch_size: 1")), HasSubstr("/no/such.h5"));
  WriteFile(list(), "");
  EXPECT_THAT(Error(Text("batch_size: 1")), HasSubstr("names no files"));
}

}  // namespace
}  // namespace cssp::testing
