#include "common/model_file/blob_proto.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/common/model_file/scratch_folder.h"

namespace cssp {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

caffe::BlobProto Legacy(int n, int c, int h, int w) {
  caffe::BlobProto blob;
  blob.set_num(n);
  blob.set_channels(c);
  blob.set_height(h);
  blob.set_width(w);
  return blob;
}

caffe::BlobProto Shaped(std::initializer_list<int64_t> dims) {
  caffe::BlobProto blob;
  blob.mutable_shape();
  for (int64_t dim : dims) blob.mutable_shape()->add_dim(dim);
  return blob;
}

TEST(BlobProtoTest, LegacyShapesEqualShorterOnesWithLeadingOnes) {
  EXPECT_TRUE(BlobShapeEquals(Legacy(1, 1, 5, 3), Shape{5, 3}));
  EXPECT_TRUE(BlobShapeEquals(Legacy(1, 1, 1, 7), Shape{7}));
  EXPECT_TRUE(BlobShapeEquals(Legacy(2, 3, 5, 5), Shape({2, 3, 5, 5})));
  EXPECT_TRUE(BlobShapeEquals(Legacy(1, 1, 1, 1), Shape()));
  EXPECT_FALSE(BlobShapeEquals(Legacy(1, 2, 5, 3), Shape{5, 3}));
  EXPECT_FALSE(BlobShapeEquals(Legacy(1, 1, 5, 3), Shape{1, 1, 1, 5, 3}));
  EXPECT_TRUE(BlobShapeEquals(Shaped({5, 3}), Shape{5, 3}));
  EXPECT_FALSE(BlobShapeEquals(Shaped({1, 1, 5, 3}), Shape{5, 3}));
}

TEST(BlobProtoTest, ShapesAreBounded) {
  EXPECT_FALSE(BlobShapeOf(Legacy(-1, 1, 1, 1)).ok());
  EXPECT_FALSE(BlobShapeOf(Shaped({int64_t{1} << 40, int64_t{1} << 40})).ok());
  EXPECT_EQ(BlobShapeOf(Legacy(2, 3, 4, 5))->count(), 120);
}

TEST(BlobProtoTest, WritesAndReadsData) {
  caffe::BlobProto blob;
  const std::vector<float> data = {1, 2, 3, 4}, diff = {5, 6, 7, 8};
  WriteBlob(Shape{2, 2}, data, diff, &blob);
  std::vector<float> out(4);
  ASSERT_TRUE(ReadBlobData(blob, absl::MakeSpan(out)).ok());
  EXPECT_EQ(out, data);
  ASSERT_TRUE(ReadBlobDiff(blob, absl::MakeSpan(out)).ok());
  EXPECT_EQ(out, diff);
  std::vector<float> three(3, -1);
  const absl::Status status = ReadBlobData(blob, absl::MakeSpan(three));
  EXPECT_THAT(std::string(status.message()), HasSubstr("4 values where 3"));
  EXPECT_THAT(three, ElementsAre(-1, -1, -1));
}

TEST(BlobProtoTest, DoublesAreRounded) {
  caffe::BlobProto blob = Shaped({2});
  blob.add_double_data(0.1);
  blob.add_double_data(2);
  std::vector<float> out(2);
  ASSERT_TRUE(ReadBlobData(blob, absl::MakeSpan(out)).ok());
  EXPECT_THAT(out, ElementsAre(0.1f, 2));
  EXPECT_EQ(ReadBlobDiff(blob, absl::MakeSpan(out)).code(),
            absl::StatusCode::kNotFound);
}

TEST(MeanTest, RoundTripAndDamage) {
  const ScratchFolder folder;
  caffe::BlobProto mean = Legacy(1, 1, 1, 2);
  mean.add_data(3);
  mean.add_data(4);
  const std::string path = folder.Path("mean.binaryproto");
  ASSERT_TRUE(WriteMean(mean, path).ok());
  EXPECT_EQ(folder.Count(), 1);
  EXPECT_EQ(ReadMean(path)->SerializeAsString(), mean.SerializeAsString());

  const std::string bytes = ScratchFolder::Read(path);
  const auto cut =
      ReadMean(folder.Write("cut", bytes.substr(0, bytes.size() - 3)));
  EXPECT_EQ(cut.status().code(), absl::StatusCode::kDataLoss);
  mean.add_data(5);
  ASSERT_TRUE(WriteMean(mean, path).ok());
  EXPECT_EQ(ReadMean(path).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace cssp
