// convert_imageset's library, and what it stands on.
#include "worker/tools/imageset.h"

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/unit/worker/data/image_testing.h"
#include "worker/data/datum_codec.h"
#include "worker/tools/ordered_work.h"
#include "worker/tools/progress_bar.h"

namespace cssp {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

// Images 0 .. 4, value 10 i, label i.
class ImagesetTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string list;
    for (int i = 0; i < 5; ++i) {
      const std::string name = absl::StrCat("im ", i, ".png");
      WritePng(folder_ / name, Flat(10 * i, 6, 8));
      absl::StrAppend(&list, name, " ", i, "\n");
    }
    WriteFile(folder_ / "list.txt", list);
    options_.root = folder_.path() + "/";
    options_.list = folder_ / "list.txt";
    options_.output = folder_ / "base";
    options_.threads = 3;
  }
  // The labels of the base's records, in key order.
  std::vector<int> Labels() {
    const auto base = OpenBase(options_.format, options_.output);
    EXPECT_TRUE(base.ok()) << base.status();
    std::vector<int> labels;
    std::string storage;
    for (int64_t i = 0; base.ok() && i < (*base)->size(); ++i) {
      const auto record = (*base)->Read(i, &storage);
      EXPECT_TRUE(record.ok()) << record.status();
      if (!record.ok()) continue;
      labels.push_back(record->label);
      shape_ = {record->channels, record->height, record->width};
      first_byte_ = static_cast<uint8_t>(record->bytes[0]);
    }
    return labels;
  }
  TempFolder folder_;
  ImagesetOptions options_;
  std::vector<int> shape_;  // of the last record read
  int first_byte_ = 0;
};

TEST_F(ImagesetTest, KeepsTheListsOrderOnAnyNumberOfThreads) {
  const auto counts = ConvertImageset(options_);
  ASSERT_TRUE(counts.ok()) << counts.status();
  EXPECT_EQ(counts->written, 5);
  EXPECT_EQ(counts->skipped, 0);
  EXPECT_THAT(Labels(), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(shape_, ElementsAre(3, 6, 8));
  EXPECT_EQ(first_byte_, 40);
}

TEST_F(ImagesetTest, ResizesAndTurnsGray) {
  options_.height = 3;
  options_.width = 5;
  options_.gray = true;
  options_.format = BaseFormat::kLevelDb;
  ASSERT_TRUE(ConvertImageset(options_).ok());
  EXPECT_THAT(Labels(), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(shape_, ElementsAre(1, 3, 5));
}

TEST_F(ImagesetTest, ShufflesBySeed) {
  options_.shuffle = true;
  ASSERT_TRUE(ConvertImageset(options_).ok());
  const std::vector<int> first = Labels();
  EXPECT_THAT(first, testing::UnorderedElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(first, testing::Not(ElementsAre(0, 1, 2, 3, 4)));
  options_.output = folder_ / "again";
  ASSERT_TRUE(ConvertImageset(options_).ok());
  EXPECT_EQ(Labels(), first);
}

// The bytes of a file that is as wanted go into the record as they are.
TEST_F(ImagesetTest, KeepsImagesCompressed) {
  options_.encoded = true;
  ASSERT_TRUE(ConvertImageset(options_).ok());
  EXPECT_THAT(Labels(), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(shape_, ElementsAre(3, 6, 8));
  options_.output = folder_ / "jpeg";
  options_.encode_type = ImageFormat::kJpeg;
  options_.height = 4;
  options_.width = 4;
  ASSERT_TRUE(ConvertImageset(options_).ok());
  EXPECT_THAT(Labels(), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(shape_, ElementsAre(3, 4, 4));
  EXPECT_NEAR(first_byte_, 40, 3);
}

TEST_F(ImagesetTest, LeavesOutWhatCannotBeRead) {
  WriteFile(folder_ / "im 1.png", "damaged");
  WriteFile(folder_ / "list.txt", "im 0.png 0\nim 1.png 1\nnone.png 2\n");
  const auto counts = ConvertImageset(options_);
  ASSERT_TRUE(counts.ok()) << counts.status();
  EXPECT_EQ(counts->written, 1);
  EXPECT_EQ(counts->skipped, 2);
  WriteFile(folder_ / "list.txt", "none.png 2\n");
  options_.output = folder_ / "nothing";
  EXPECT_THAT(std::string(ConvertImageset(options_).status().message()),
              HasSubstr("none of its images"));
  EXPECT_FALSE(std::filesystem::exists(options_.output));
}

TEST_F(ImagesetTest, ChecksSizesWhenAsked) {
  WritePng(folder_ / "im 3.png", Flat(1, 6, 9));
  options_.check_size = true;
  EXPECT_THAT(
      std::string(ConvertImageset(options_).status().message()),
      AllOf(HasSubstr("list.txt:4"), HasSubstr("6 x 9"), HasSubstr("6 x 8")));
  EXPECT_FALSE(std::filesystem::exists(options_.output));
}

TEST_F(ImagesetTest, RefusesHalfASize) {
  options_.height = 3;
  EXPECT_THAT(std::string(ConvertImageset(options_).status().message()),
              HasSubstr("resize_width"));
}

TEST(OrderedWork, HandsResultsOverInOrder) {
  for (const int threads : {1, 2, 7}) {
    std::atomic<int> made = 0;
    std::vector<int64_t> taken;
    OrderedWork<int64_t> work(1000, threads);
    const absl::Status status = work.Run(
        [&](int64_t i) {
          ++made;
          return i * i;
        },
        [&](int64_t i, int64_t square) {
          EXPECT_EQ(square, i * i);
          taken.push_back(i);
          return absl::OkStatus();
        });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(made, 1000);
    ASSERT_EQ(taken.size(), 1000u);
    EXPECT_TRUE(std::is_sorted(taken.begin(), taken.end()));
  }
}

TEST(OrderedWork, EndsWithTheFirstError) {
  OrderedWork<int64_t> work(int64_t{1} << 40, 3);
  const absl::Status status =
      work.Run([](int64_t i) { return i; },
               [](int64_t i, int64_t) {
                 return i < 10 ? absl::OkStatus() : absl::DataLossError("ten");
               });
  EXPECT_EQ(status.message(), "ten");
}

TEST(ProgressBar, SaysHowFar) {
  EXPECT_EQ(ProgressLine(50, 100, absl::Seconds(5)),
            "[===============>              ]  50 %  50 / 100  10/s  5 s left");
  EXPECT_THAT(ProgressLine(100, 100, absl::Seconds(5)),
              AllOf(HasSubstr("[==============================] 100 %"),
                    HasSubstr("0 s left")));
}

}  // namespace
}  // namespace cssp
