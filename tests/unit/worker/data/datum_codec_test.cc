#include "worker/data/datum_codec.h"

#include <string>

#include "tests/unit/worker/data/data_testing.h"

namespace cssp {
namespace {

TEST(DatumCodec, PixelsAreNotCopied) {
  const std::string wire = ByteDatum(5).SerializeAsString();
  std::string storage;
  const auto record = ParseDatum(wire, &storage);
  ASSERT_TRUE(record.ok()) << record.status();
  EXPECT_EQ(record->bytes, ByteDatum(5).data());
  EXPECT_GE(record->bytes.data(), wire.data());
  EXPECT_LE(record->bytes.data() + 24, wire.data() + wire.size());
}

TEST(DatumCodec, TakesPackedFloatsAndUnknownFields) {
  // Field 6, packed (some writers do): two floats; then field 15, unknown.
  std::string wire("\x08\x01\x10\x01\x18\x02\x32\x08", 8);
  const float values[2] = {1.5f, -2.0f};
  wire.append(reinterpret_cast<const char*>(values), sizeof values);
  wire.append("\x7a\x02xx", 4);
  std::string storage;
  const auto record = ParseDatum(wire, &storage);
  ASSERT_TRUE(record.ok()) << record.status();
  EXPECT_THAT(record->floats, testing::ElementsAre(1.5f, -2.0f));
}

TEST(DatumCodec, RefusesWhatIsNotWhole) {
  const std::string wire = ByteDatum(1).SerializeAsString();
  for (size_t size = 0; size < wire.size(); ++size) {
    // On the heap at its exact length: reading beyond it shows under ASan.
    const std::string cut = wire.substr(0, size);
    std::string storage;
    const auto record = ParseDatum(cut, &storage);
    // The label comes last: without it the record is whole.
    if (record.ok()) {
      EXPECT_GE(size, wire.size() - 2);
    } else {
      EXPECT_EQ(record.status().code(), absl::StatusCode::kDataLoss) << size;
    }
  }
}

TEST(DatumCodec, RefusesExtentsThatDisagree) {
  caffe::Datum datum = ByteDatum(1);
  std::string storage;
  for (const int height : {0, -1, 2, 2147483647}) {
    datum.set_height(height);
    const auto record = ParseDatum(datum.SerializeAsString(), &storage);
    EXPECT_EQ(record.status().code(), absl::StatusCode::kDataLoss) << height;
  }
  datum.set_height(2147483647);
  datum.set_width(2147483647);
  datum.set_channels(2147483647);
  EXPECT_FALSE(ParseDatum(datum.SerializeAsString(), &storage).ok());
}

TEST(DatumCodec, DecodesEncodedImagesInTheModeAskedFor) {
  Image image;
  image.Resize(3, 2, 4);
  for (size_t i = 0; i < image.pixels.size(); ++i)
    image.pixels[i] = static_cast<uint8_t>(10 * i);
  const auto png = EncodeImage(image, ImageFormat::kPng);
  ASSERT_TRUE(png.ok()) << png.status();
  caffe::Datum datum;
  datum.set_data(*png);
  datum.set_encoded(true);
  datum.set_label(7);
  const std::string wire = datum.SerializeAsString();
  std::string storage, planes;
  auto record = ParseDatum(wire, &storage);
  ASSERT_TRUE(record.ok()) << record.status();
  EXPECT_EQ(record->channels, 3);
  EXPECT_EQ(record->height, 2);
  EXPECT_EQ(record->width, 4);
  EXPECT_EQ(record->label, 7);
  ToPlanes(image, &planes);
  EXPECT_EQ(record->bytes, planes);
  record = ParseDatum(wire, &storage, ColorMode::kGray);
  ASSERT_TRUE(record.ok()) << record.status();
  EXPECT_EQ(record->channels, 1);
  EXPECT_EQ(record->bytes.size(), 8u);
}

TEST(DatumCodec, SaysWhatIsWrongWithAnEncodedImage) {
  caffe::Datum datum;
  datum.set_encoded(true);
  std::string storage;
  for (const std::string& bytes : {std::string(), std::string("pixels"),
                                   std::string("\xff\xd8\xff\xe0")}) {
    datum.set_data(bytes);
    const auto record = ParseDatum(datum.SerializeAsString(), &storage);
    EXPECT_EQ(record.status().code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(record.status().message()),
                testing::HasSubstr("encoded image"));
  }
}

}  // namespace
}  // namespace cssp
