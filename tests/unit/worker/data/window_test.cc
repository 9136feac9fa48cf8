// Window files and crops.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/unit/worker/data/image_testing.h"
#include "worker/data/window_crop.h"
#include "worker/data/window_file.h"

namespace cssp {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kFile[] =
    "# 0\na.png\n3\n6\n8\n2\n1 0.9 1 2 4 5\n0 0.1 0 0 7 5\n"
    "# 1\nb.png\n3\n4\n4\n1\n2 0.6 0 0 3 3\n";

class WindowFileTest : public testing::Test {
 protected:
  absl::StatusOr<WindowFile> Parse(const std::string& text) {
    WriteFile(folder_ / "windows.txt", text);
    return ReadWindowFile(folder_ / "windows.txt");
  }
  std::string Error(const std::string& text) {
    return std::string(Parse(text).status().message());
  }
  TempFolder folder_;
};

TEST_F(WindowFileTest, IsReadWhole) {
  const auto file = Parse(kFile);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(file->images.size(), 2u);
  EXPECT_EQ(file->images[0].path, "a.png");
  EXPECT_EQ(file->images[0].height, 6);
  EXPECT_EQ(file->images[0].width, 8);
  ASSERT_EQ(file->windows.size(), 3u);
  EXPECT_EQ(file->windows[1].overlap, 0.1f);
  EXPECT_EQ(file->windows[2].image, 1);
  EXPECT_EQ(file->windows[2].label, 2);
  EXPECT_EQ(file->windows[0].y2, 5);
}

TEST_F(WindowFileTest, MistakesAreNamedWithTheirLine) {
  std::string text = kFile;
  text.replace(text.find("0.9"), 3, "x.9");
  EXPECT_THAT(Error(text), AllOf(HasSubstr("windows.txt:7"), HasSubstr("x.9")));
  text = kFile;
  text.replace(text.find("0 0 7 5"), 7, "0 0 8 5");
  EXPECT_THAT(Error(text),
              AllOf(HasSubstr("windows.txt:8"), HasSubstr("image of 8 x 6")));
  EXPECT_THAT(Error("# 0\na.png\n3\n6\n"), HasSubstr("width"));
  EXPECT_THAT(Error("a.png\n"), HasSubstr("'a.png' stands where"));
  EXPECT_THAT(Error("# 0\na.png\n3\n6\n8\n0\n"), HasSubstr("no windows"));
  EXPECT_EQ(ReadWindowFile("/no/file").status().code(),
            absl::StatusCode::kNotFound);
}

TEST(WindowCrop, WithoutContextIsTheWindowWarped) {
  WindowCropOptions options;
  options.crop_size = 2;
  options.scale = 0.5;
  options.mean_value = {1};
  std::vector<float> out(12);
  CropWindow(Grid(6, 8), {.x1 = 3, .y1 = 2, .x2 = 4, .y2 = 3}, false, options,
             out.data());
  EXPECT_THAT(std::vector<float>(out.begin(), out.begin() + 4),
              ElementsAre(11, 11.5f, 16, 16.5f));
  CropWindow(Grid(6, 8), {.x1 = 3, .y1 = 2, .x2 = 4, .y2 = 3}, true, options,
             out.data());
  EXPECT_THAT(std::vector<float>(out.begin(), out.begin() + 4),
              ElementsAre(11.5f, 11, 16.5f, 16));
}

// The window fills the middle 2 x 2 of 4 x 4; beyond the image there is 0, also
// after the mean.
TEST(WindowCrop, ContextBeyondTheImageIsZero) {
  WindowCropOptions options;
  options.crop_size = 4;
  options.context_pad = 1;
  options.mean_value = {100};
  std::vector<float> out(48);
  // Centre (1, 1), half 1, scaled by 2: from -1 to 3; one row of five outside.
  CropWindow(Flat(110, 8, 8), {.x1 = 0, .y1 = 0, .x2 = 1, .y2 = 1}, false,
             options, out.data());
  for (int y = 0; y < 4; ++y) {
    for (int x = 0; x < 4; ++x)
      EXPECT_EQ(out[4 * y + x], y == 0 || x == 0 ? 0 : 10) << y << " " << x;
  }
  // Mirrored, the padding lies on the other side.
  CropWindow(Flat(110, 8, 8), {.x1 = 0, .y1 = 0, .x2 = 1, .y2 = 1}, true,
             options, out.data());
  EXPECT_EQ(out[4 + 0], 10);
}

TEST(WindowCrop, SquareGrowsTheShorterSide) {
  WindowCropOptions options;
  options.crop_size = 4;
  options.square = true;
  std::vector<float> out(48);
  // Two columns, four rows: the square takes columns 2 .. 6 of rows 0 .. 4.
  CropWindow(Grid(8, 8), {.x1 = 3, .y1 = 0, .x2 = 4, .y2 = 3}, false, options,
             out.data());
  EXPECT_LT(out[0], 4);
  EXPECT_GT(out[3], 5);
}

TEST(WindowCrop, RefusesWhatCannotBe) {
  WindowCropOptions options;
  EXPECT_THAT(std::string(CheckWindowCrop(options, 3).message()),
              HasSubstr("crop_size"));
  options.crop_size = 4;
  options.context_pad = 2;
  EXPECT_THAT(std::string(CheckWindowCrop(options, 3).message()),
              HasSubstr("context_pad"));
  options.context_pad = 0;
  options.mean = {1, 8, 8, std::vector<float>(64)};
  EXPECT_THAT(std::string(CheckWindowCrop(options, 3).message()),
              HasSubstr("mean_file"));
  options.mean = {};
  options.mean_value = {1, 2};
  EXPECT_FALSE(CheckWindowCrop(options, 3).ok());
}

}  // namespace
}  // namespace cssp
