// A net's weights through .caffemodel.h5, where a shared parameter is stored
// with its owner alone.
#include <unistd.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/model_file/caffemodel.h"
#include "test_layers.h"

namespace cssp {
namespace {

using namespace testing;  // NOLINT: the fixtures of this folder

constexpr char kShared[] = R"(
  layer { name: "in" type: "Input" top: "x"
          input_param { shape { dim: 2 dim: 3 } } }
  layer { name: "a" type: "InnerProduct" bottom: "x" top: "a"
          param { name: "w" } inner_product_param { num_output: 3
            weight_filler { type: "uniform" min: -1 max: 1 } } }
  layer { name: "b" type: "InnerProduct" bottom: "a" top: "b"
          param { name: "w" } inner_product_param { num_output: 3
            weight_filler { type: "uniform" min: -1 max: 1 }
            bias_filler { type: "uniform" } } }
  layer { name: "l" type: "EuclideanLoss" bottom: "b" top: "l" })";

TEST(Hdf5WeightsTest, SharedParametersComeBack) {
  const auto device = MakeCpuDevice(1);
  NetOptions options = TrainOptions();
  auto from = MakeNet(kShared, *device, options);
  options.seed = 2;
  auto to = MakeNet(kShared, *device, options);
  ASSERT_TRUE(from && to);
  ASSERT_NE(from->weights(), to->weights());
  const std::string path = (std::filesystem::temp_directory_path() /
                            absl::StrCat("cssp-", getpid(), ".caffemodel.h5"))
                               .string();
  ASSERT_TRUE(WriteCaffemodel(from->ToProto(false), path).ok());
  const auto trained = ReadCaffemodel(path);
  std::filesystem::remove(path);
  ASSERT_TRUE(trained.ok()) << trained.status();
  const absl::Status loaded = to->LoadWeights(*trained);
  ASSERT_TRUE(loaded.ok()) << loaded;
  EXPECT_EQ(from->weights(), to->weights());
}

TEST(Hdf5WeightsTest, AnOwnersMissingBlobIsAnError) {
  const auto device = MakeCpuDevice(1);
  auto net = MakeNet(kShared, *device, TrainOptions());
  ASSERT_TRUE(net);
  caffe::NetParameter proto = net->ToProto(false);
  proto.mutable_layer(1)->mutable_blobs(0)->Clear();  // owner of "w"
  EXPECT_EQ(net->LoadWeights(proto).code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace cssp
