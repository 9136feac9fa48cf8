#include "worker/data/data_transformer.h"

#include <string>
#include <vector>

#include "google/protobuf/text_format.h"
#include "tests/unit/worker/data/data_testing.h"
#include "worker/data/mean_file.h"

namespace cssp {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

caffe::TransformationParameter Param(const std::string& text) {
  caffe::TransformationParameter param;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &param));
  return param;
}

// One channel, rows 0 1 2 3 / 4 5 6 7 / ...
RecordView Counting(int channels, int height, int width, std::string* bytes) {
  bytes->clear();
  for (int i = 0; i < channels * height * width; ++i)
    bytes->push_back(static_cast<char>(i));
  RecordView record;
  record.channels = channels;
  record.height = height;
  record.width = width;
  record.bytes = *bytes;
  return record;
}

std::vector<float> Apply(const DataTransformer& transformer,
                         const RecordView& record, const TransformDraw& draw) {
  const auto shape = transformer.OutputShape(
      {record.channels, record.height, record.width});
  EXPECT_TRUE(shape.ok()) << shape.status();
  std::vector<float> out(shape->count(), -1);
  transformer.Transform(record, draw, absl::MakeSpan(out));
  return out;
}

TEST(DataTransformer, SubtractsThenScales) {
  const auto transformer = DataTransformer::Create(
      Param("scale: 0.5 mean_value: 10 mean_value: 1"), caffe::TRAIN);
  ASSERT_TRUE(transformer.ok());
  std::string bytes;
  EXPECT_THAT(Apply(*transformer, Counting(2, 1, 2, &bytes), {}),
              ElementsAre(-5, -4.5f, 0.5f, 1));
}

TEST(DataTransformer, BytesAreUnsignedAndFloatsPassThrough) {
  const auto transformer = DataTransformer::Create(Param(""), caffe::TEST);
  ASSERT_TRUE(transformer.ok());
  RecordView record;
  record.channels = 1;
  record.height = 1;
  record.width = 2;
  record.bytes = "\xff\x80";
  EXPECT_THAT(Apply(*transformer, record, {}), ElementsAre(255, 128));
  const float floats[] = {-0.25f, 1e6f};
  record.bytes = {};
  record.floats = floats;
  EXPECT_THAT(Apply(*transformer, record, {}), ElementsAre(-0.25f, 1e6f));
}

TEST(DataTransformer, MeanFileIsTakenAtThePixelsPlaceAndMirrors) {
  TempFolder folder;
  MeanImage mean{1, 2, 3, {0, 10, 20, 30, 40, 50}};
  ASSERT_TRUE(WriteMeanFile(folder / "mean", mean).ok());
  const auto transformer = DataTransformer::Create(
      Param("crop_size: 2 mean_file: '" + (folder / "mean") + "'"),
      caffe::TEST);
  ASSERT_TRUE(transformer.ok()) << transformer.status();
  std::string bytes;
  const RecordView record = Counting(1, 2, 3, &bytes);
  // Columns 1 and 2 of rows 0 and 1: pixels 1 2 4 5, means 10 20 40 50.
  EXPECT_THAT(Apply(*transformer, record, {0, 1, false}),
              ElementsAre(-9, -18, -36, -45));
  EXPECT_THAT(Apply(*transformer, record, {0, 1, true}),
              ElementsAre(-18, -9, -45, -36));
}

TEST(DataTransformer, CropsTheCentreInTestAndAnywhereInTrain) {
  const auto test = DataTransformer::Create(Param("crop_size: 3"), caffe::TEST);
  const auto train =
      DataTransformer::Create(Param("crop_size: 3"), caffe::TRAIN);
  const ImageShape input{1, 6, 4};
  const TransformDraw centre = test->Draw(1, {0, 5}, input);
  EXPECT_EQ(centre.row, 1);
  EXPECT_EQ(centre.column, 0);
  std::vector<int> rows(4, 0), columns(2, 0);
  for (int64_t i = 0; i < 4000; ++i) {
    const TransformDraw draw = train->Draw(1, {0, i}, input);
    ASSERT_GE(draw.row, 0);
    ASSERT_LE(draw.row, 3);
    ASSERT_GE(draw.column, 0);
    ASSERT_LE(draw.column, 1);
    ++rows[draw.row];
    ++columns[draw.column];
  }
  for (const int count : rows) EXPECT_NEAR(count, 1000, 150);
  for (const int count : columns) EXPECT_NEAR(count, 2000, 200);
}

TEST(DataTransformer, MirrorsHalfInBothPhases) {
  for (const caffe::Phase phase : {caffe::TRAIN, caffe::TEST}) {
    const auto transformer =
        DataTransformer::Create(Param("mirror: true"), phase);
    int mirrored = 0;
    for (int64_t i = 0; i < 4000; ++i)
      mirrored += transformer->Draw(1, {0, i}, {1, 2, 2}).mirror;
    EXPECT_NEAR(mirrored, 2000, 200);
  }
}

TEST(DataTransformer, DrawsDependOnSeedEpochAndIndexAlone) {
  const auto transformer = DataTransformer::Create(
      Param("crop_size: 8 mirror: true"), caffe::TRAIN);
  const ImageShape input{1, 64, 64};
  const auto same = [&](const TransformDraw& a, const TransformDraw& b) {
    return a.row == b.row && a.column == b.column && a.mirror == b.mirror;
  };
  int by_epoch = 0, by_seed = 0;
  for (int64_t i = 0; i < 200; ++i) {
    const TransformDraw draw = transformer->Draw(3, {1, i}, input);
    EXPECT_TRUE(same(draw, transformer->Draw(3, {1, i}, input)));
    by_epoch += same(draw, transformer->Draw(3, {2, i}, input));
    by_seed += same(draw, transformer->Draw(4, {1, i}, input));
  }
  EXPECT_LT(by_epoch, 5);
  EXPECT_LT(by_seed, 5);
}

TEST(DataTransformer, SaysWhatDoesNotFit) {
  const auto status_of = [](const std::string& text, const ImageShape& input) {
    const auto transformer =
        DataTransformer::Create(Param(text), caffe::TRAIN);
    EXPECT_TRUE(transformer.ok());
    const absl::Status status = transformer->OutputShape(input).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(status_of("crop_size: 5", {3, 4, 9}), HasSubstr("crop_size 5"));
  EXPECT_THAT(status_of("mean_value: 1 mean_value: 2", {3, 4, 4}),
              HasSubstr("mean_value"));
  EXPECT_THAT(status_of("force_color: true", {1, 4, 4}),
              HasSubstr("force_color"));
  EXPECT_THAT(status_of("force_gray: true", {3, 4, 4}),
              HasSubstr("force_gray"));
}

TEST(DataTransformer, RefusesContradictions) {
  EXPECT_FALSE(DataTransformer::Create(Param("mean_file: 'x' mean_value: 1"),
                                       caffe::TRAIN)
                   .ok());
  EXPECT_FALSE(
      DataTransformer::Create(Param("force_color: true force_gray: true"),
                              caffe::TRAIN)
          .ok());
}

TEST(MeanFile, TellsMissingFromDamaged) {
  TempFolder folder;
  EXPECT_EQ(ReadMeanFile(folder / "none").status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(ReadMeanFile(folder / "none").status().message()),
              HasSubstr("compute_image_mean"));
  MeanImage mean{3, 4, 5, std::vector<float>(60, 1.5f)};
  ASSERT_TRUE(WriteMeanFile(folder / "mean", mean).ok());
  const auto back = ReadMeanFile(folder / "mean");
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->values, mean.values);
  std::filesystem::resize_file(folder / "mean", 100);
  EXPECT_EQ(ReadMeanFile(folder / "mean").status().code(),
            absl::StatusCode::kDataLoss);
  WriteFile(folder / "empty", "");
  EXPECT_EQ(ReadMeanFile(folder / "empty").status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_FALSE(WriteMeanFile(folder / "no/such/folder", mean).ok());
}

TEST(MeanFile, OfAnotherShapeIsRefused) {
  TempFolder folder;
  MeanImage mean{1, 2, 2, {1, 2, 3, 4}};
  ASSERT_TRUE(WriteMeanFile(folder / "mean", mean).ok());
  const auto transformer = DataTransformer::Create(
      Param("mean_file: '" + (folder / "mean") + "'"), caffe::TRAIN);
  ASSERT_TRUE(transformer.ok());
  EXPECT_THAT(
      std::string(transformer->OutputShape({1, 3, 2}).status().message()),
      HasSubstr("1 x 2 x 2"));
}

}  // namespace
}  // namespace cssp
