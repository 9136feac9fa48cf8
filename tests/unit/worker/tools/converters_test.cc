#include "worker/tools/converters.h"

#include <cstdlib>
#include <memory>
#include <string>

#include "tests/unit/worker/data/data_testing.h"

namespace cssp {
namespace {

using testing::HasSubstr;

constexpr int kPixels = 3072;

// A batch of `records` records: record i of file `seed` is one colour.
std::string CifarBatch(int seed, int records) {
  std::string batch;
  for (int i = 0; i < records; ++i) {
    batch.push_back(static_cast<char>((seed + i) % 10));
    batch.append(kPixels, static_cast<char>(seed * 16 + i));
  }
  return batch;
}

class CifarTest : public testing::TestWithParam<BaseFormat> {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(in());
    std::filesystem::create_directory(out());
    for (int b = 1; b <= 5; ++b) WriteFile(Batch(b), CifarBatch(b, 4));
    WriteFile(in() + "/test_batch.bin", CifarBatch(6, 3));
  }
  std::string in() const { return folder_ / "in"; }
  std::string out() const { return folder_ / "out"; }
  std::string Batch(int b) const {
    return in() + "/data_batch_" + std::to_string(b) + ".bin";
  }
  std::string Base(const std::string& part) const {
    return out() + "/cifar10_" + part +
           (GetParam() == BaseFormat::kLmdb ? "_lmdb" : "_leveldb");
  }
  absl::Status Convert() const {
    return ConvertCifar10(in(), out(), GetParam());
  }
  // Expects failure with `code`, a message naming `what`, and nothing made.
  void ExpectNothingMade(absl::StatusCode code, const std::string& what) {
    const absl::Status status = Convert();
    EXPECT_EQ(status.code(), code);
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
    EXPECT_TRUE(std::filesystem::is_empty(out()));
  }
  TempFolder folder_;
};

TEST_P(CifarTest, KeepsRecordsInFileOrder) {
  ASSERT_TRUE(Convert().ok());
  const auto train = OpenBase(GetParam(), Base("train"));
  ASSERT_TRUE(train.ok()) << train.status();
  ASSERT_EQ((*train)->size(), 20);
  std::string storage;
  for (int i = 0; i < 20; ++i) {
    const int batch = i / 4 + 1;
    const auto record = (*train)->Read(i, &storage);
    ASSERT_TRUE(record.ok());
    EXPECT_EQ(record->label, (batch + i % 4) % 10);
    EXPECT_EQ(record->channels, 3);
    EXPECT_EQ(record->height, 32);
    EXPECT_EQ(record->bytes,
              std::string(kPixels, static_cast<char>(batch * 16 + i % 4)));
  }
  EXPECT_EQ((*OpenBase(GetParam(), Base("test")))->size(), 3);
}

TEST_P(CifarTest, RefusesTruncatedBatches) {
  std::filesystem::resize_file(Batch(4), 3073 * 4 - 1);
  ExpectNothingMade(absl::StatusCode::kDataLoss, "data_batch_4.bin");
  // Cut at a record's end, too.
  std::filesystem::resize_file(Batch(4), 3073 * 3);
  ExpectNothingMade(absl::StatusCode::kDataLoss, "data_batch_4.bin");
  std::filesystem::resize_file(Batch(4), 0);
  ExpectNothingMade(absl::StatusCode::kDataLoss, "data_batch_4.bin");
  std::filesystem::remove(Batch(4));
  ExpectNothingMade(absl::StatusCode::kNotFound, "data_batch_4.bin");
}

TEST_P(CifarTest, RefusesLabelsThatCifarHasNot) {
  std::string batch = CifarBatch(6, 3);
  batch[2 * 3073] = 10;
  WriteFile(in() + "/test_batch.bin", batch);
  ExpectNothingMade(absl::StatusCode::kDataLoss, "record 2 has label 10");
}

TEST_P(CifarTest, LeavesAnOldBaseAlone) {
  std::filesystem::create_directory(Base("test"));
  WriteFile(Base("test") + "/precious", "x");
  EXPECT_EQ(Convert().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(std::filesystem::exists(Base("test") + "/precious"));
  EXPECT_FALSE(std::filesystem::exists(Base("train")));
}

INSTANTIATE_TEST_SUITE_P(Formats, CifarTest,
                         testing::Values(BaseFormat::kLmdb,
                                         BaseFormat::kLevelDb),
                         [](const auto& info) {
                           return info.param == BaseFormat::kLmdb ? "Lmdb"
                                                                  : "LevelDb";
                         });

std::string BigEndian(uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8)
    bytes.push_back(static_cast<char>(value >> shift));
  return bytes;
}

class MnistTest : public testing::Test {
 protected:
  void SetUp() override {
    images_ = BigEndian(2051) + BigEndian(5) + BigEndian(2) + BigEndian(3);
    labels_ = BigEndian(2049) + BigEndian(5);
    for (int i = 0; i < 5; ++i) {
      images_.append(6, static_cast<char>(100 + i));
      labels_.push_back(static_cast<char>(9 - i));
    }
  }
  absl::Status Convert() const {
    WriteFile(folder_ / "images", images_);
    WriteFile(folder_ / "labels", labels_);
    return ConvertMnist(folder_ / "images", folder_ / "labels",
                        folder_ / "base", BaseFormat::kLmdb);
  }
  void ExpectNothingMade() const {
    EXPECT_EQ(Convert().code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(folder_.entries(), 2);
  }
  std::string images_, labels_;
  TempFolder folder_;
};

TEST_F(MnistTest, Converts) {
  ASSERT_TRUE(Convert().ok());
  const auto base = OpenLmdb(folder_ / "base");
  ASSERT_TRUE(base.ok()) << base.status();
  ASSERT_EQ((*base)->size(), 5);
  std::string storage;
  const auto record = (*base)->Read(3, &storage);
  EXPECT_EQ(record->channels, 1);
  EXPECT_EQ(record->height, 2);
  EXPECT_EQ(record->width, 3);
  EXPECT_EQ(record->label, 6);
  EXPECT_EQ(record->bytes, "gggggg");
}

TEST_F(MnistTest, MakesPairsForSiameseNets) {
  const auto convert = [&](const std::string& name, uint64_t seed) {
    WriteFile(folder_ / "images", images_);
    WriteFile(folder_ / "labels", labels_);
    return ConvertMnistSiamese(folder_ / "images", folder_ / "labels",
                               folder_ / name, BaseFormat::kLmdb, seed);
  };
  // Two digits only, so that pairs of both kinds come up.
  for (int i = 0; i < 5; ++i) labels_[8 + i] = static_cast<char>(i % 2);
  ASSERT_TRUE(convert("a", 1).ok());
  ASSERT_TRUE(convert("b", 1).ok());
  ASSERT_TRUE(convert("c", 2).ok());
  const auto a = OpenLmdb(folder_ / "a"), b = OpenLmdb(folder_ / "b"),
             c = OpenLmdb(folder_ / "c");
  ASSERT_TRUE(a.ok() && b.ok() && c.ok());
  ASSERT_EQ((*a)->size(), 5);
  bool differs = false;
  for (int i = 0; i < 5; ++i) {
    std::string storage, other;
    const auto pair = (*a)->Read(i, &storage);
    ASSERT_TRUE(pair.ok());
    EXPECT_EQ(pair->channels, 2);
    // Image k consists of bytes 100 + k and shows digit k % 2.
    const int first = pair->bytes[0] - 100, second = pair->bytes[6] - 100;
    EXPECT_EQ(pair->bytes, std::string(6, static_cast<char>(100 + first)) +
                               std::string(6, static_cast<char>(100 + second)));
    EXPECT_EQ(pair->label, first % 2 == second % 2 ? 1 : 0);
    EXPECT_EQ((*b)->Read(i, &other)->bytes, pair->bytes);
    differs |= (*c)->Read(i, &other)->bytes != pair->bytes;
  }
  EXPECT_TRUE(differs);
}

TEST_F(MnistTest, RefusesTruncatedFiles) {
  const std::string whole = images_;
  for (const size_t size :
       {whole.size() - 1, size_t{20}, size_t{9}, size_t{0}}) {
    images_ = whole.substr(0, size);
    ExpectNothingMade();
  }
}

TEST_F(MnistTest, RefusesWhatIsNoPair) {
  labels_ = BigEndian(2049) + BigEndian(4) + "\x01\x02\x03\x04";
  ExpectNothingMade();
  labels_ = "\x1f\x8b gzip";
  ExpectNothingMade();
  // Extents that would overflow.
  labels_ = BigEndian(2049) + BigEndian(0xffffffff);
  images_ = BigEndian(2051) + BigEndian(0xffffffff) + BigEndian(0xffffffff) +
            BigEndian(0xffffffff);
  ExpectNothingMade();
}

TEST(ImageMean, IsTheMeanPixelByPixel) {
  TempFolder folder;
  ASSERT_TRUE(WriteBase(BaseFormat::kLmdb, folder / "base", 5).ok());
  int64_t records = 0;
  const auto mean =
      ComputeImageMean(BaseFormat::kLmdb, folder / "base", &records);
  ASSERT_TRUE(mean.ok()) << mean.status();
  EXPECT_EQ(records, 5);
  EXPECT_EQ(mean->channels, 2);
  for (int k = 0; k < 24; ++k) EXPECT_EQ(mean->values[k], k + 2);
}

TEST(ImageMean, RefusesUnlikeShapes) {
  TempFolder folder;
  auto writer = CreateBase(BaseFormat::kLmdb, folder / "base");
  ASSERT_TRUE(writer.ok());
  caffe::Datum other = ByteDatum(1);
  other.set_width(6);
  other.set_height(2);
  ASSERT_TRUE((*writer)->Put("0", ByteDatum(0).SerializeAsString()).ok());
  ASSERT_TRUE((*writer)->Put("1", other.SerializeAsString()).ok());
  ASSERT_TRUE((*writer)->Commit().ok());
  const auto mean =
      ComputeImageMean(BaseFormat::kLmdb, folder / "base", nullptr);
  EXPECT_EQ(mean.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(mean.status().message()), HasSubstr("record 1"));
}

// CIFAR-10 itself, where $CSSP_UNPACKED_DATA has it.
class RealData : public testing::Test {
 protected:
  void SetUp() override {
    const char* folder = std::getenv("CSSP_UNPACKED_DATA");
    if (folder == nullptr || !std::filesystem::exists(folder))
      GTEST_SKIP() << "no real data: $CSSP_UNPACKED_DATA is not set";
    data_ = folder;
  }
  std::string data_;
};

TEST_F(RealData, Cifar10MeanAndCounts) {
  TempFolder folder;
  ASSERT_TRUE(
      ConvertCifar10(data_ + "/cifar10", folder.path(), BaseFormat::kLmdb)
          .ok());
  int64_t records = 0;
  const auto mean = ComputeImageMean(BaseFormat::kLmdb,
                                     folder / "cifar10_train_lmdb", &records);
  ASSERT_TRUE(mean.ok()) << mean.status();
  EXPECT_EQ(records, 50000);
  // The training set's channel means, as published: .4914, .4822, .4465.
  const double published[3] = {0.4914, 0.4822, 0.4465};
  for (int c = 0; c < 3; ++c) {
    double sum = 0;
    for (int k = 0; k < 1024; ++k) sum += mean->values[c * 1024 + k];
    EXPECT_NEAR(sum / 1024 / 255, published[c], 5e-5);
  }
  const auto test = OpenLmdb(folder / "cifar10_test_lmdb");
  ASSERT_TRUE(test.ok());
  EXPECT_EQ((*test)->size(), 10000);
  // The first test image is a cat.
  std::string storage;
  EXPECT_EQ((*test)->Read(0, &storage)->label, 3);
}

TEST_F(RealData, MnistCounts) {
  TempFolder folder;
  ASSERT_TRUE(ConvertMnist(data_ + "/mnist/t10k-images-idx3-ubyte",
                           data_ + "/mnist/t10k-labels-idx1-ubyte",
                           folder / "base", BaseFormat::kLevelDb)
                  .ok());
  const auto base = OpenLevelDb(folder / "base");
  ASSERT_TRUE(base.ok());
  EXPECT_EQ((*base)->size(), 10000);
  std::string storage;
  EXPECT_EQ((*base)->Read(0, &storage)->label, 7);
}

}  // namespace
}  // namespace cssp
