// extract_features and the upgrade tools.
#include <memory>
#include <string>

#include "common/model_file/prototxt.h"
#include "tests/unit/worker/data/data_testing.h"
#include "worker/layers/builtin_layers.h"
#include "worker/tools/features.h"
#include "worker/tools/upgrades.h"

namespace cssp {
namespace {

using testing::HasSubstr;

std::string Content(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

class FeaturesTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(WriteBase(BaseFormat::kLmdb, folder_ / "in", 6).ok());
    ASSERT_TRUE(RegisterCpuLayers(layers_).ok());
    caffe::NetParameter param;
    ASSERT_TRUE(
        ParseText(
            "layer { name: 'd' type: 'Data' top: 'data' data_param { source: "
            "'" +
                (folder_ / "in") +
                "' backend: LMDB batch_size: 2 } } "
                "layer { name: 'p' type: 'Power' bottom: 'data' top: 'double' "
                "power_param { scale: 2 } } layer { name: 'r' type: "
                "'Reduction' "
                "bottom: 'double' top: 'sum' reduction_param { axis: 1 } }",
            "net", &param)
            .ok());
    NetOptions options;
    options.state.set_phase(caffe::TEST);
    options.keep_blobs = false;
    auto net = Net::Create(param, layers_, *device_, options);
    ASSERT_TRUE(net.ok()) << net.status();
    net_ = *std::move(net);
  }
  TempFolder folder_;
  LayerRegistry layers_;
  std::unique_ptr<Device> device_ = MakeCpuDevice(1);
  std::unique_ptr<Net> net_;
};

TEST_F(FeaturesTest, WritesEveryItemOfEachBlob) {
  FeatureOptions options{.blobs = {"double", "sum"},
                         .bases = {folder_ / "a", folder_ / "b"},
                         .batches = 3};
  const absl::Status done = ExtractFeatures(*net_, options);
  ASSERT_TRUE(done.ok()) << done;
  const auto a = OpenLmdb(folder_ / "a"), b = OpenLmdb(folder_ / "b");
  ASSERT_TRUE(a.ok() && b.ok());
  ASSERT_EQ((*a)->size(), 6);
  ASSERT_EQ((*b)->size(), 6);
  std::string storage;
  const auto image = (*a)->Read(4, &storage);
  ASSERT_TRUE(image.ok());
  EXPECT_EQ(image->channels, 2);
  EXPECT_EQ(image->height, 3);
  EXPECT_EQ(image->width, 4);
  EXPECT_EQ(image->floats[5], 2 * (4 + 5));
  const auto sum = (*b)->Read(1, &storage);
  ASSERT_TRUE(sum.ok());
  EXPECT_EQ(sum->floats.size(), 1u);
  EXPECT_EQ(sum->floats[0], 2 * (24 * 1 + 276));
}

TEST_F(FeaturesTest, SaysWhatIsWrong) {
  FeatureOptions options{
      .blobs = {"dubble"}, .bases = {folder_ / "a"}, .batches = 1};
  EXPECT_THAT(std::string(ExtractFeatures(*net_, options).message()),
              testing::AllOf(HasSubstr("'dubble'"), HasSubstr("double")));
  options.blobs = {"double", "sum"};
  EXPECT_THAT(std::string(ExtractFeatures(*net_, options).message()),
              HasSubstr("2 blobs"));
  options.bases.push_back(folder_ / "b");
  options.batches = 0;
  EXPECT_FALSE(ExtractFeatures(*net_, options).ok());
  EXPECT_EQ(folder_.entries(), 1);
}

TEST(Upgrades, RewriteOldNets) {
  TempFolder folder;
  WriteFile(folder / "old.prototxt",
            "layers { name: 'ip' type: INNER_PRODUCT bottom: 'x' top: 'y' "
            "blobs_lr: 1 blobs_lr: 2 inner_product_param { num_output: 3 } }");
  const auto changed =
      UpgradeNetText(folder / "old.prototxt", folder / "new.prototxt");
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_TRUE(*changed);
  EXPECT_THAT(Content(folder / "new.prototxt"),
              testing::AllOf(HasSubstr("type: \"InnerProduct\""),
                             HasSubstr("lr_mult: 2")));
  const auto again =
      UpgradeNetText(folder / "new.prototxt", folder / "newer.prototxt");
  ASSERT_TRUE(again.ok());
  EXPECT_FALSE(*again);
  EXPECT_EQ(Content(folder / "new.prototxt"),
            Content(folder / "newer.prototxt"));
}

TEST(Upgrades, RewriteOldModels) {
  TempFolder folder;
  caffe::NetParameter old;
  caffe::V1LayerParameter& layer = *old.add_layers();
  layer.set_name("ip");
  layer.set_type(caffe::V1LayerParameter::INNER_PRODUCT);
  layer.add_bottom("x");
  layer.add_top("y");
  layer.add_blobs()->add_data(7);
  WriteFile(folder / "old.caffemodel", old.SerializeAsString());
  const auto changed =
      UpgradeNetBinary(folder / "old.caffemodel", folder / "new.caffemodel");
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_TRUE(*changed);
  caffe::NetParameter net;
  ASSERT_TRUE(net.ParseFromString(Content(folder / "new.caffemodel")));
  ASSERT_EQ(net.layer_size(), 1);
  EXPECT_EQ(net.layer(0).type(), "InnerProduct");
  EXPECT_EQ(net.layer(0).blobs(0).data(0), 7);
  EXPECT_FALSE(UpgradeNetBinary(folder / "none", folder / "x").ok());
}

TEST(Upgrades, RewriteOldSolvers) {
  TempFolder folder;
  WriteFile(folder / "old.prototxt",
            "net: 'n' solver_type: ADAGRAD snapshot_prefix: 'p'");
  const auto changed =
      UpgradeSolverText(folder / "old.prototxt", folder / "new.prototxt");
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_TRUE(*changed);
  EXPECT_THAT(Content(folder / "new.prototxt"),
              testing::AllOf(HasSubstr("type: \"AdaGrad\""),
                             testing::Not(HasSubstr("solver_type"))));
  for (const char* field : {"net_param", "train_net_param", "test_net_param"}) {
    WriteFile(folder / "inside.prototxt",
              std::string(field) +
                  " { layers { name: 'r' type: RELU bottom: 'x' top: 'y' } } "
                  "snapshot_prefix: 'p' type: 'SGD'");
    const auto inside =
        UpgradeSolverText(folder / "inside.prototxt", folder / "new.prototxt");
    ASSERT_TRUE(inside.ok()) << inside.status();
    EXPECT_TRUE(*inside);
    EXPECT_THAT(Content(folder / "new.prototxt"),
                testing::AllOf(HasSubstr(field), HasSubstr("type: \"ReLU\""),
                               testing::Not(HasSubstr("layers"))));
    const auto again =
        UpgradeSolverText(folder / "new.prototxt", folder / "newer.prototxt");
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_FALSE(*again);
  }
  WriteFile(folder / "both.prototxt",
            "net_param { layer { name: 'a' } layers { name: 'b' } }");
  EXPECT_THAT(std::string(
                  UpgradeSolverText(folder / "both.prototxt", folder / "x")
                      .status()
                      .message()),
              HasSubstr("both.prototxt: "));
  WriteFile(folder / "bad.prototxt", "net: 'n'\nbase_lrr: 1");
  EXPECT_THAT(
      std::string(UpgradeSolverText(folder / "bad.prototxt", folder / "x")
                      .status()
                      .message()),
      HasSubstr("bad.prototxt:2"));
}

}  // namespace
}  // namespace cssp
