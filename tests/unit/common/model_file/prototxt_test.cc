#include "common/model_file/prototxt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/common/model_file/scratch_folder.h"

namespace cssp {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::string NetError(const std::string& text) {
  caffe::NetParameter net;
  const absl::Status status = ParseText(text, "lenet.prototxt", &net);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(net.ByteSizeLong(), 0u);  // nothing half done
  return std::string(status.message());
}

TEST(ParseTextTest, ReadsANet) {
  caffe::NetParameter net;
  ASSERT_TRUE(
      ParseText("name: 'n' # a comment\nlayer { name: 'a' }", "n", &net).ok());
  EXPECT_EQ(net.layer(0).name(), "a");
}

TEST(ParseTextTest, PointsAtAMisspeltField) {
  EXPECT_EQ(NetError("name: 'n'\nlayer {\n  naem: 'a'\n}\n"),
            "lenet.prototxt:3:3: unknown field 'naem' in LayerParameter: did "
            "you mean 'name'?");
}

TEST(ParseTextTest, PointsAtAFieldWhoseBraceIsOnTheNextLine) {
  EXPECT_EQ(NetError("layer {\n\tconvolution_parm\n  {\n  }\n}\n"),
            "lenet.prototxt:2:2: unknown field 'convolution_parm' in "
            "LayerParameter: did you mean 'convolution_param'?");
}

TEST(ParseTextTest, SuggestsNothingWhereNothingIsNear) {
  EXPECT_THAT(NetError("layer {\n  zzzzzzzz: 1\n}\n"),
              Not(HasSubstr("did you mean")));
}

TEST(ParseTextTest, PointsAtSyntaxAndValues) {
  EXPECT_THAT(NetError("layer {\n  name: 'a'\n"),
              StartsWith("lenet.prototxt:3:1: "));
  EXPECT_THAT(NetError("force_backward: maybe\n"),
              StartsWith("lenet.prototxt:1:17: "));
  EXPECT_THAT(NetError("layer {\n  pooling_param { pool: MEDIAN\n }\n}\n"),
              AllOf(StartsWith("lenet.prototxt:2:25: "), HasSubstr("MEDIAN")));
  EXPECT_THAT(NetError("name: 'unterminated\n"),
              StartsWith("lenet.prototxt:1:"));
}

TEST(ParseTextTest, ABinaryFileIsNamedAsSuch) {
  EXPECT_THAT(NetError(std::string("\x0a\x00\x01", 3)),
              HasSubstr("a binary file"));
}

TEST(ReadTextFileTest, NamesWhatCannotBeRead) {
  const ScratchFolder folder;
  caffe::NetParameter net;
  EXPECT_EQ(ReadTextFile(folder.Path("none"), &net).code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadTextFile(folder.Path(""), &net).code(),
            absl::StatusCode::kInvalidArgument);  // a folder
  EXPECT_EQ(ReadTextFile("/dev/null", &net).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(ReadTextFile(folder.Write("empty", ""), &net).ok());
}

}  // namespace
}  // namespace cssp
