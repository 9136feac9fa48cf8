// Caffe's own files: every prototxt, model and state under
// $CSSP_TEST_DATA/caffemodels is read and brought to today's form.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "absl/strings/match.h"
#include "common/model_file/blob_proto.h"
#include "common/model_file/caffemodel.h"
#include "common/model_file/prototxt.h"
#include "common/model_file/solverstate.h"
#include "worker/net/net_passes.h"

namespace cssp {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

fs::path Models() {
  const char* data = std::getenv("CSSP_TEST_DATA");
  const fs::path folder =
      data != nullptr ? fs::path(data)
                      : fs::path(CSSP_SOURCE_DIR) / ".." / "shared" / "data";
  return folder / "caffemodels";
}

std::vector<std::string> FilesEndingIn(const std::string& ending) {
  std::vector<std::string> files;
  std::error_code missing;
  for (const auto& entry :
       fs::recursive_directory_iterator(Models(), missing)) {
    const std::string path = entry.path().string();
    if (absl::EndsWith(path, ending)) files.push_back(path);
  }
  std::sort(files.begin(), files.end());
  return files;
}

#define SKIP_IF_ABSENT(path) \
  if (!fs::exists(path))     \
  GTEST_SKIP() << "absent: " << (path) << " ($CSSP_TEST_DATA)"

void ExpectTodaysForm(const caffe::NetParameter& net) {
  EXPECT_EQ(net.layers_size(), 0);
  EXPECT_EQ(net.input_size() + net.input_dim_size(), 0);
  EXPECT_GT(net.layer_size(), 0);
  for (const auto& layer : net.layer()) EXPECT_NE(layer.type(), "");
}

TEST(StoredModelsTest, EveryPrototxtUpgrades) {
  SKIP_IF_ABSENT(Models());
  const auto files = FilesEndingIn(".prototxt");
  ASSERT_FALSE(files.empty());
  for (const std::string& path : files) {
    SCOPED_TRACE(path);
    if (absl::StrContains(fs::path(path).filename().string(), "solver")) {
      const auto solver = ReadSolver(path);
      EXPECT_TRUE(solver.ok()) << solver.status();
      continue;
    }
    const auto net = ReadNet(path);
    ASSERT_TRUE(net.ok()) << net.status();
    ExpectTodaysForm(*net);
    for (const caffe::Phase phase : {caffe::TRAIN, caffe::TEST}) {
      caffe::NetState state;
      state.set_phase(phase);
      const auto prepared = PrepareNet(*net, state);
      EXPECT_TRUE(prepared.ok()) << prepared.status();
    }
  }
}

TEST(StoredModelsTest, EveryCaffemodelReadsAndUpgrades) {
  SKIP_IF_ABSENT(Models());
  const auto files = FilesEndingIn(".caffemodel");
  ASSERT_FALSE(files.empty());
  for (const std::string& path : files) {
    SCOPED_TRACE(path);
    const auto raw = ReadCaffemodel(path);
    ASSERT_TRUE(raw.ok()) << raw.status();
    const auto net = UpgradeNet(*raw);
    ASSERT_TRUE(net.ok()) << net.status();
    ExpectTodaysForm(*net);
    int blobs = 0;
    for (const auto& layer : net->layer()) {
      for (const auto& blob : layer.blobs()) {
        ++blobs;
        ASSERT_TRUE(BlobShapeOf(blob).ok());
        EXPECT_EQ(BlobShapeOf(blob)->count(), BlobDataCount(blob));
      }
    }
    EXPECT_GT(blobs, 0);
  }
}

TEST(StoredModelsTest, EverySolverstateReads) {
  SKIP_IF_ABSENT(Models());
  const auto files = FilesEndingIn(".solverstate");
  ASSERT_FALSE(files.empty());
  for (const std::string& path : files) {
    SCOPED_TRACE(path);
    const auto state = ReadSolverState(path);
    ASSERT_TRUE(state.ok()) << state.status();
    EXPECT_TRUE(
        absl::StrContains(path, absl::StrCat("_iter_", state->iter(), ".")));
    EXPECT_EQ(state->history_size(), 10);  // cifar10_quick: five layers
  }
}

// V1 layers inside a solver, and two test nets told apart by stage.
TEST(StoredModelsTest, ConsolidatedSolver) {
  const fs::path path = Models() / "lenet/lenet_consolidated_solver.prototxt";
  SKIP_IF_ABSENT(path);
  const auto solver = ReadSolver(path);
  ASSERT_TRUE(solver.ok()) << solver.status();
  const auto train = ResolveTrainNet(*solver);
  ASSERT_TRUE(train.ok()) << train.status();
  const auto source = [](const SolverNet& choice) {
    const auto net = PrepareNet(choice.net, choice.net.state());
    EXPECT_TRUE(net.ok()) << net.status();
    return absl::StrCat(net->layer(0).data_param().source(), " x",
                        net->layer(0).data_param().batch_size());
  };
  EXPECT_EQ(source(*train), "examples/mnist/mnist_train_lmdb x64");
  const auto tests = ResolveTestNets(*solver);
  ASSERT_TRUE(tests.ok()) << tests.status();
  ASSERT_EQ(tests->size(), 2u);
  EXPECT_EQ(source((*tests)[0]), "examples/mnist/mnist_test_lmdb x100");
  EXPECT_EQ(source((*tests)[1]), "examples/mnist/mnist_train_lmdb x100");
  EXPECT_EQ((*tests)[1].test_iter, 600);
  EXPECT_THAT((*tests)[1].net.state().stage(),
              ElementsAre("test-on-train-set"));
}

TEST(StoredModelsTest, ATruncatedCaffemodelIsOneLine) {
  const fs::path path = Models() / "lenet/lenet_iter_10000.caffemodel";
  SKIP_IF_ABSENT(path);
  const fs::path cut =
      fs::temp_directory_path() / absl::StrCat("cut-", getpid());
  fs::copy_file(path, cut, fs::copy_options::overwrite_existing);
  fs::permissions(cut, fs::perms::owner_write, fs::perm_options::add);
  fs::resize_file(cut, fs::file_size(cut) / 2);
  const auto net = ReadCaffemodel(cut);
  fs::remove(cut);
  EXPECT_EQ(net.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(net.status().message()),
              ::testing::HasSubstr("truncated"));
}

}  // namespace
}  // namespace cssp
