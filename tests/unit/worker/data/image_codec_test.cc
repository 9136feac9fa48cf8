#include "worker/data/image_codec.h"

#include <cmath>
#include <cstdlib>
#include <string>

#include "tests/unit/worker/data/data_testing.h"

namespace cssp {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// Smooth, so that JPEG changes it little; blue, green and red differ.
Image Slope(int channels, int height, int width) {
  Image image;
  image.Resize(channels, height, width);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < channels; ++c)
        image.row(y)[x * channels + c] =
            static_cast<uint8_t>((y + x + 60 * c) % 256);
    }
  }
  return image;
}

std::string Encoded(const Image& image, ImageFormat format) {
  const auto bytes = EncodeImage(image, format);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return bytes.value_or("");
}

// The largest difference of two pixels, 255 where the extents differ.
int Difference(const Image& a, const Image& b) {
  if (a.pixels.size() != b.pixels.size() || a.width != b.width) return 255;
  int largest = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i)
    largest = std::max(largest, std::abs(a.pixels[i] - b.pixels[i]));
  return largest;
}

TEST(ImageCodec, BringsBackWhatItWrote) {
  for (const int channels : {1, 3}) {
    const Image image = Slope(channels, 37, 53);
    Image back;
    ASSERT_TRUE(DecodeImage(Encoded(image, ImageFormat::kPng),
                            ColorMode::kAsStored, &back)
                    .ok());
    EXPECT_EQ(back.channels, channels);
    EXPECT_EQ(Difference(image, back), 0);
    ASSERT_TRUE(DecodeImage(Encoded(image, ImageFormat::kJpeg),
                            ColorMode::kAsStored, &back)
                    .ok());
    EXPECT_EQ(back.channels, channels);
    EXPECT_LE(Difference(image, back), 6);
  }
}

TEST(ImageCodec, ConvertsToWhatIsAskedFor) {
  for (const ImageFormat format : {ImageFormat::kJpeg, ImageFormat::kPng}) {
    Image image = Slope(3, 16, 24), out;
    ASSERT_TRUE(
        DecodeImage(Encoded(image, format), ColorMode::kGray, &out).ok());
    ASSERT_EQ(out.channels, 1);
    const uint8_t* pixel = image.row(5) + 7 * 3;
    EXPECT_NEAR(out.row(5)[7],
                0.114 * pixel[0] + 0.587 * pixel[1] + 0.299 * pixel[2], 3);
    image = Slope(1, 16, 24);
    ASSERT_TRUE(
        DecodeImage(Encoded(image, format), ColorMode::kColor, &out).ok());
    ASSERT_EQ(out.channels, 3);
    EXPECT_NEAR(out.row(5)[7 * 3], image.row(5)[7], 2);
    EXPECT_EQ(out.row(5)[7 * 3], out.row(5)[7 * 3 + 2]);
  }
}

// Every shorter file is refused, none brings the program down; the copies lie
// on the heap at their exact length.
TEST(ImageCodec, RefusesEveryTruncation) {
  for (const ImageFormat format : {ImageFormat::kJpeg, ImageFormat::kPng}) {
    const std::string whole = Encoded(Slope(3, 24, 24), format);
    Image image;
    // The last bytes of a JPEG are its end marker, which may be missing.
    for (size_t size = 0; size + 2 < whole.size(); ++size) {
      const std::string cut = whole.substr(0, size);
      const absl::Status status =
          DecodeImage(cut, ColorMode::kAsStored, &image);
      ASSERT_FALSE(status.ok()) << size << " of " << whole.size();
    }
  }
}

// Any byte may be wrong: the answer is a picture or a Status.
TEST(ImageCodec, SurvivesDamage) {
  for (const ImageFormat format : {ImageFormat::kJpeg, ImageFormat::kPng}) {
    const std::string whole = Encoded(Slope(3, 16, 16), format);
    Image image;
    int refused = 0;
    for (size_t at = 0; at < whole.size(); ++at) {
      for (const int flip : {0x01, 0x80, 0xff}) {
        std::string damaged = whole;
        damaged[at] = static_cast<char>(damaged[at] ^ flip);
        refused += !DecodeImage(damaged, ColorMode::kColor, &image).ok();
      }
    }
    EXPECT_GT(refused, 0);
  }
}

// A header that claims 16-bit extents in a file of a few hundred bytes.
TEST(ImageCodec, RefusesBombsBeforeItAllocates) {
  std::string png = Encoded(Slope(1, 8, 8), ImageFormat::kPng);
  std::string jpeg = Encoded(Slope(1, 8, 8), ImageFormat::kJpeg);
  const size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, jpeg.npos);
  jpeg.replace(frame + 5, 4, "\x4e\x20\x4e\x20");  // 20000 x 20000
  Image image;
  EXPECT_THAT(
      std::string(DecodeImage(jpeg, ColorMode::kColor, &image).message()),
      AllOf(HasSubstr("20000 x 20000"), HasSubstr("claims")));
  jpeg.replace(frame + 5, 4, "\x0f\xff\x0f\xff");  // 4095 x 4095
  EXPECT_THAT(
      std::string(DecodeImage(jpeg, ColorMode::kColor, &image).message()),
      HasSubstr("cannot hold"));
  // A PNG's header has a checksum: a true one of 30000 x 30000, without pixels.
  const std::string bomb(
      "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x75\x30\0\0\x75\x30\x08\0\0\0\0"
      "\x43\x4c\xa7\x66"
      "\0\0\0\0IDAT\x35\xaf\x06\x1e",
      45);
  const absl::Status status = DecodeImage(bomb, ColorMode::kColor, &image);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("30000 x 30000"));
  EXPECT_EQ(image.pixels.capacity(), 0u);
}

TEST(ImageCodec, NamesFilesThatAreNotThereOrNoImages) {
  TempFolder folder;
  WriteFile(folder / "a.jpg", "text");
  WriteFile(folder / "b.jpg", "");
  Image image;
  EXPECT_THAT(
      std::string(
          ReadImage(folder / "a.jpg", ColorMode::kColor, &image).message()),
      AllOf(HasSubstr("a.jpg"), HasSubstr("neither a JPEG nor a PNG")));
  EXPECT_THAT(
      std::string(
          ReadImage(folder / "b.jpg", ColorMode::kColor, &image).message()),
      HasSubstr("is empty"));
  EXPECT_EQ(ReadImage(folder / "c.jpg", ColorMode::kColor, &image).code(),
            absl::StatusCode::kNotFound);
  EXPECT_FALSE(ReadImage(folder.path(), ColorMode::kColor, &image).ok());
}

TEST(ImageCodec, KnowsFormatsByName) {
  EXPECT_EQ(*ParseImageFormat(".JPG"), ImageFormat::kJpeg);
  EXPECT_EQ(*ParseImageFormat("jpeg"), ImageFormat::kJpeg);
  EXPECT_EQ(*ParseImageFormat("png"), ImageFormat::kPng);
  EXPECT_FALSE(ParseImageFormat("gif").ok());
}

// Against OpenCV 4.6's resize of the same bytes (tests/compat/images compares
// many sizes where python3-opencv is at hand).
TEST(Resize, IsOpenCvsBilinear) {
  Image in, out;
  in.Resize(1, 2, 3);
  in.pixels = {0, 100, 255, 7, 200, 31};
  ResizeBilinear(in, 3, 5, &out);
  EXPECT_THAT(out.pixels, testing::ElementsAre(0, 40, 100, 193, 255, 4, 62, 150,
                                               146, 143, 7, 84, 200, 98, 31));
  ResizeBilinear(in, 1, 1, &out);
  EXPECT_THAT(out.pixels, testing::ElementsAre(150));
}

TEST(Resize, HalvesByTheMeanOfFour) {
  Image in, out;
  in.Resize(1, 2, 4);
  in.pixels = {0, 1, 255, 255, 1, 0, 255, 254};
  ResizeBilinear(in, 1, 2, &out);
  EXPECT_THAT(out.pixels, testing::ElementsAre(1, 255));
}

TEST(Resize, LeavesAnImageOfThatSizeAlone) {
  const Image in = Slope(3, 9, 7);
  Image out;
  ResizeBilinear(in, 9, 7, &out);
  EXPECT_EQ(out.pixels, in.pixels);
}

TEST(Planes, ComeAndGo) {
  const Image image = Slope(3, 4, 5);
  std::string planes;
  ToPlanes(image, &planes);
  ASSERT_EQ(planes.size(), 60u);
  EXPECT_EQ(static_cast<uint8_t>(planes[20 + 7]), image.row(1)[2 * 3 + 1]);
  Image back;
  back.Resize(3, 4, 5);
  FromPlanes(planes, &back);
  EXPECT_EQ(back.pixels, image.pixels);
}

}  // namespace
}  // namespace cssp
