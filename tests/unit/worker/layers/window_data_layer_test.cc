#include <gmock/gmock.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/testing/layer_runner.h"
#include "tests/unit/worker/data/image_testing.h"

namespace cssp::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Two images of one colour: 100 holds objects of classes 1 and 2, 200 is
// background.
class WindowDataLayerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    WritePng(folder_ / "a.png", Flat(100, 12, 10));
    WritePng(folder_ / "b.png", Flat(200, 9, 9));
    WriteFile(file(),
              "# 0\na.png\n3\n12\n10\n3\n1 0.9 0 0 4 4\n2 0.7 3 3 9 9\n"
              "1 0.4 0 0 9 11\n# 1\nb.png\n3\n9\n9\n1\n0 0 1 1 7 7\n");
  }
  std::string file() const { return folder_ / "windows.txt"; }
  std::string Text(const std::string& data,
                   const std::string& transform = "crop_size: 4") const {
    return absl::StrCat(
        "name: 'w' type: 'WindowData' top: 'data' top: 'label' "
        "window_data_param { source: '",
        file(), "' root_folder: '", folder_.path(), "/' bg_threshold: 0.3 ",
        data, " } transform_param { ", transform, " }");
  }
  static std::string Error(const std::string& text) {
    auto runner = LayerRunner::Create(text, caffe::TRAIN, {});
    if (!runner.ok()) return std::string(runner.status().message());
    return std::string((*runner)->Forward().message());
  }
  TempFolder folder_;
};

TEST_F(WindowDataLayerTest, MixesBackgroundAndObjects) {
  for (const char* cache : {"false", "true"}) {
    auto runner = LayerRunner::Create(
        Text(absl::StrCat("batch_size: 8 fg_fraction: 0.25 cache_images: ",
                          cache),
             "crop_size: 4 mirror: true scale: 2"),
        caffe::TRAIN, {});
    ASSERT_TRUE(runner.ok()) << runner.status();
    EXPECT_EQ((*runner)->top_shapes()[0], Shape({8, 3, 4, 4}));
    ASSERT_TRUE((*runner)->Forward().ok());
    for (int i = 0; i < 8; ++i) {
      const float label = (*runner)->top[1][i];
      EXPECT_EQ((*runner)->top[0][i * 48], i < 6 ? 400 : 200) << i;
      EXPECT_TRUE(i < 6 ? label == 0 : label == 1 || label == 2) << label;
    }
  }
}

TEST_F(WindowDataLayerTest, DrawsArePureFunctionsOfThePosition) {
  auto a = LayerRunner::Create(Text("batch_size: 4 fg_fraction: 1"),
                               caffe::TRAIN, {});
  auto b = LayerRunner::Create(Text("batch_size: 4 fg_fraction: 1"),
                               caffe::TRAIN, {});
  ASSERT_TRUE(a.ok() && b.ok());
  Values labels;
  for (const int64_t first : {0, 4, 8, 12}) {
    (*a)->state().first_record = (*b)->state().first_record = first;
    ASSERT_TRUE((*a)->Forward().ok() && (*b)->Forward().ok());
    EXPECT_EQ((*a)->top[1], (*b)->top[1]);
    labels.insert(labels.end(), (*a)->top[1].begin(), (*a)->top[1].end());
  }
  EXPECT_THAT(labels, ::testing::Contains(1));
  EXPECT_THAT(labels, ::testing::Contains(2));
}

TEST_F(WindowDataLayerTest, AnotherBatchKeepsTheShareOfObjects) {
  auto runner = LayerRunner::Create(Text("batch_size: 8 fg_fraction: 0.25"),
                                    caffe::TRAIN, {});
  ASSERT_TRUE(runner.ok()) << runner.status();
  ASSERT_TRUE((*runner)->layer().SetBatch(12));
  ASSERT_TRUE((*runner)->Reshape({}).ok());
  ASSERT_TRUE((*runner)->Forward().ok());
  ASSERT_EQ((*runner)->top[1].size(), 12u);
  for (int i = 0; i < 12; ++i)
    EXPECT_EQ((*runner)->top[0][i * 48], i < 9 ? 200 : 100) << i;
}

TEST_F(WindowDataLayerTest, SaysWhatIsWrong) {
  EXPECT_THAT(Error(Text("batch_size: 4", "")), HasSubstr("crop_size"));
  EXPECT_THAT(Error(Text("batch_size: 4 crop_mode: 'round'")),
              HasSubstr("'round'"));
  EXPECT_THAT(Error(Text("batch_size: 4 fg_fraction: 2")),
              HasSubstr("fg_fraction"));
  EXPECT_THAT(Error(Text("batch_size: 4 fg_threshold: 0.95")),
              HasSubstr("0 object"));
  WritePng(folder_ / "b.png", Flat(1, 5, 5));
  EXPECT_THAT(Error(Text("batch_size: 4")),
              AllOf(HasSubstr("b.png"), HasSubstr("5 x 5")));
}

}  // namespace
}  // namespace cssp::testing
