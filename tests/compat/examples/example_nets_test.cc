// Every prototxt of examples/ is one: nets can be made (with made-up data,
// batch 1) and have as many parameters as their papers' and Caffe's; solvers
// find their nets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/device/device.h"
#include "common/model_file/prototxt.h"
#include "worker/layers/builtin_layers.h"
#include "worker/net/net.h"
#include "worker/net/net_passes.h"

namespace cssp {
namespace {

namespace fs = std::filesystem;

// A net, the extents of one item of its data (train nets only), its learnable
// parameters; 0: not counted.
struct ExampleNet {
  const char* path;
  std::vector<int64_t> item;
  int64_t parameters;
};

const ExampleNet kNets[] = {
    {"cifar10/cifar10_full.prototxt", {}, 89578},
    {"cifar10/cifar10_full_sigmoid_train_test.prototxt", {3, 32, 32}, 89578},
    {"cifar10/cifar10_full_sigmoid_train_test_bn.prototxt", {3, 32, 32}, 89450},
    {"cifar10/cifar10_full_train_test.prototxt", {3, 32, 32}, 89578},
    {"cifar10/cifar10_quick.prototxt", {}, 145578},
    {"cifar10/cifar10_quick_train_test.prototxt", {3, 32, 32}, 145578},
    {"feature_extraction/shapes_features.prototxt", {3, 48, 48}, 0},
    {"finetune_flickr_style/deploy.prototxt", {}, 56950164},
    {"finetune_flickr_style/train_val.prototxt", {3, 227, 227}, 56950164},
    {"hdf5_classification/nonlinear_train_val.prototxt", {4}, 282},
    {"hdf5_classification/train_val.prototxt", {4}, 10},
    {"imagenet/alexnet/deploy.prototxt", {}, 60965224},
    {"imagenet/alexnet/train_val.prototxt", {3, 227, 227}, 60965224},
    {"imagenet/googlenet/deploy.prototxt", {}, 6998552},
    {"imagenet/googlenet/train_val.prototxt", {3, 224, 224}, 13378280},
    {"imagenet/resnet50/deploy.prototxt", {}, 25557032},
    {"imagenet/resnet50/train_val.prototxt", {3, 224, 224}, 25557032},
    {"mnist/lenet.prototxt", {}, 431080},
    {"mnist/lenet_train_test.prototxt", {1, 28, 28}, 431080},
    {"mnist/mnist_autoencoder.prototxt", {1, 28, 28}, 2837314},
    {"shapes/finetune_train_test.prototxt", {3, 48, 48}, 0},
    {"shapes/shapes_deploy.prototxt", {}, 0},
    {"shapes/shapes_train_test.prototxt", {3, 48, 48}, 0},
    {"siamese/mnist_siamese.prototxt", {}, 431102},
    {"siamese/mnist_siamese_train_test.prototxt", {2, 28, 28}, 431102},
};

// Of Python layers: only pycaffe can make them (tests/compat/pycaffe).
const char* const kPythonNets[] = {"pycaffe/linreg.prototxt"};

std::string PathOf(const std::string& name) {
  return absl::StrCat(CSSP_EXAMPLES, "/", name);
}

// Data layers become DummyData of one item; inputs get a batch of one.
void MakeUpData(const std::vector<int64_t>& item, caffe::NetParameter* net) {
  for (caffe::LayerParameter& layer : *net->mutable_layer()) {
    if (layer.type() == "Input")
      layer.mutable_input_param()->mutable_shape(0)->set_dim(0, 1);
    if (layer.bottom_size() > 0 || !absl::EndsWith(layer.type(), "Data"))
      continue;
    layer.set_type("DummyData");
    caffe::DummyDataParameter& dummy = *layer.mutable_dummy_data_param();
    for (int top = 0; top < layer.top_size(); ++top) {
      caffe::BlobShape& shape = *dummy.add_shape();
      shape.add_dim(1);
      if (top > 0) continue;
      for (const int64_t dim : item) shape.add_dim(dim);
    }
  }
}

int64_t LearnableParameters(const Net& net) {
  int64_t count = 0;
  for (const NetParam& param : net.params())
    if (param.kind == ParamKind::kGradient) count += param.shape.count();
  return count;
}

class ExampleNets : public testing::TestWithParam<ExampleNet> {};

TEST_P(ExampleNets, CanBeMadeAndHaveTheirParameters) {
  LayerRegistry layers;
  ASSERT_TRUE(RegisterCpuLayers(layers).ok());
  const std::unique_ptr<Device> device = MakeCpuDevice(1);
  absl::StatusOr<caffe::NetParameter> param = ReadNet(PathOf(GetParam().path));
  ASSERT_TRUE(param.ok()) << param.status();
  MakeUpData(GetParam().item, &*param);
  const std::vector<std::string> types = layers.Types();
  for (const caffe::LayerParameter& layer : param->layer()) {
    if (std::find(types.begin(), types.end(), layer.type()) == types.end())
      GTEST_SKIP() << "there is no layer " << layer.type() << " yet";
  }
  NetOptions options;
  options.state.set_phase(caffe::TEST);
  options.state.add_stage("test-on-test");
  options.keep_blobs = false;
  options.log_creation = false;
  const auto net = Net::Create(*param, layers, *device, options);
  ASSERT_TRUE(net.ok()) << net.status();
  if (GetParam().parameters > 0) {
    EXPECT_EQ(LearnableParameters(**net), GetParam().parameters);
  }
}

INSTANTIATE_TEST_SUITE_P(All, ExampleNets, testing::ValuesIn(kNets),
                         [](const auto& info) {
                           std::string name = info.param.path;
                           std::replace_if(
                               name.begin(), name.end(),
                               [](char c) { return std::isalnum(c) == 0; },
                               '_');
                           return name;
                         });

std::vector<std::string> Prototxts() {
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(CSSP_EXAMPLES)) {
    // What runs have made lies in folders of these names.
    const std::string path = fs::relative(entry, CSSP_EXAMPLES).string();
    if (entry.path().extension() == ".prototxt" &&
        !absl::StrContains(path, "/data/") && !absl::StrContains(path, "/out/"))
      found.push_back(PathOf(path));
  }
  return found;
}

TEST(Examples, SolversFindTheirNets) {
  int solvers = 0;
  for (const std::string& path : Prototxts()) {
    if (!absl::StrContains(fs::path(path).filename().string(), "solver"))
      continue;
    ++solvers;
    absl::StatusOr<caffe::SolverParameter> solver = ReadSolver(path);
    ASSERT_TRUE(solver.ok()) << solver.status();
    // Written as seen from the project's root.
    const std::string net =
        PathOf(solver->net().substr(std::string("examples/").size()));
    EXPECT_TRUE(fs::exists(net)) << path << ": " << solver->net();
    EXPECT_TRUE(absl::StartsWith(solver->snapshot_prefix(), "examples/"));
    EXPECT_GT(solver->max_iter(), 0) << path;
  }
  EXPECT_GE(solvers, 25);
}

TEST(Examples, EveryNetIsListedHere) {
  for (const std::string& path : Prototxts()) {
    const std::string name = fs::relative(path, CSSP_EXAMPLES).string();
    if (absl::StrContains(fs::path(path).filename().string(), "solver"))
      continue;
    const bool listed =
        std::any_of(std::begin(kNets), std::end(kNets),
                    [&](const ExampleNet& net) { return name == net.path; }) ||
        std::count(std::begin(kPythonNets), std::end(kPythonNets), name) > 0;
    EXPECT_TRUE(listed) << name;
  }
}

}  // namespace
}  // namespace cssp
