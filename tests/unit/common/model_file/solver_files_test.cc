#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "common/model_file/prototxt.h"
#include "tests/unit/common/model_file/scratch_folder.h"

namespace cssp {
namespace {

using ::testing::HasSubstr;

TEST(ReadSolverTest, UpgradesTheOldType) {
  const ScratchFolder folder;
  const auto solver =
      ReadSolver(folder.Write("s.prototxt", "solver_type: ADAGRAD"));
  ASSERT_TRUE(solver.ok());
  EXPECT_EQ(solver->type(), "AdaGrad");
  EXPECT_FALSE(solver->has_solver_type());
  const char* types[] = {"SGD",     "Nesterov", "AdaGrad",
                         "RMSProp", "AdaDelta", "Adam"};
  for (int i = 0; i < 6; ++i) {
    caffe::SolverParameter old;
    old.set_solver_type(static_cast<caffe::SolverParameter::SolverType>(i));
    ASSERT_TRUE(UpgradeSolver("s", &old).ok());
    EXPECT_EQ(old.type(), types[i]);
  }
}

TEST(ReadSolverTest, BothTypesAreRefused) {
  const ScratchFolder folder;
  const auto solver =
      ReadSolver(folder.Write("s.prototxt", "solver_type: SGD type: 'Adam'"));
  EXPECT_EQ(solver.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(solver.status().message()),
              HasSubstr("s.prototxt: both solver_type and type"));
}

TEST(ReadSolverTest, SnapshotPrefixFollowsTheFile) {
  const ScratchFolder folder;
  const std::string path = folder.Write("quick_solver.prototxt", "");
  EXPECT_EQ(ReadSolver(path)->snapshot_prefix(), folder.Path("quick_solver"));
  folder.Write("quick_solver.prototxt", "snapshot_prefix: 'mine'");
  EXPECT_EQ(ReadSolver(path)->snapshot_prefix(), "mine");
}

TEST(ReadSolverTest, SnapshotPrefixMayBeAFolder) {
  const ScratchFolder folder;
  std::filesystem::create_directory(folder.Path("snaps"));
  for (const char* slash : {"", "/"}) {
    caffe::SolverParameter solver;
    solver.set_snapshot_prefix(folder.Path("snaps") + slash);
    ASSERT_TRUE(UpgradeSolver("a.b/quick_solver.prototxt", &solver).ok());
    EXPECT_EQ(solver.snapshot_prefix(), folder.Path("snaps/quick_solver"));
  }
  // A dot in a folder's name is no extension.
  caffe::SolverParameter solver;
  ASSERT_TRUE(UpgradeSolver("a.b/quick_solver", &solver).ok());
  EXPECT_EQ(solver.snapshot_prefix(), "a.b/quick_solver");
}

TEST(ResolvePathTest, WorkingDirectoryFirstThenTheSolversFolder) {
  const ScratchFolder folder;
  const std::string solver = folder.Write("s.prototxt", "");
  folder.Write("net.prototxt", "");
  EXPECT_EQ(*ResolvePath("net.prototxt", solver), folder.Path("net.prototxt"));
  EXPECT_EQ(*ResolvePath(folder.Path("net.prototxt"), "elsewhere/s"),
            folder.Path("net.prototxt"));
  const std::string here = std::filesystem::current_path().string();
  std::filesystem::create_directory(folder.Path("sub"));
  std::filesystem::current_path(folder.Path(""));
  EXPECT_EQ(*ResolvePath("net.prototxt", folder.Path("sub/s.prototxt")),
            "net.prototxt");
  std::filesystem::current_path(here);
  const auto missing = ResolvePath("none.prototxt", solver);
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.status().message()),
              AllOf(HasSubstr("'none.prototxt'"),
                    HasSubstr(folder.Path("none.prototxt"))));
}

TEST(InlineNetsTest, ReplacesPathsByNetsInCaffesOrder) {
  const ScratchFolder folder;
  folder.Write("train.prototxt", "name: 'train'");
  folder.Write("t0.prototxt", "name: 't0'");
  folder.Write("generic.prototxt", "name: 'generic'");
  const std::string path =
      folder.Write("s.prototxt",
                   "net: 'generic.prototxt' train_net: 'train.prototxt'\n"
                   "test_net: 't0.prototxt' test_net_param { name: 'inline' }");
  auto solver = ReadSolver(path).value();
  ASSERT_TRUE(InlineNets(path, &solver).ok());
  EXPECT_FALSE(solver.has_net());
  EXPECT_FALSE(solver.has_train_net());
  EXPECT_EQ(solver.test_net_size(), 0);
  EXPECT_EQ(solver.net_param().name(), "generic");
  EXPECT_EQ(solver.train_net_param().name(), "train");
  ASSERT_EQ(solver.test_net_param_size(), 2);
  EXPECT_EQ(solver.test_net_param(0).name(), "inline");
  EXPECT_EQ(solver.test_net_param(1).name(), "t0");
  const std::string once = solver.SerializeAsString();
  ASSERT_TRUE(InlineNets(path, &solver).ok());  // idempotent
  EXPECT_EQ(solver.SerializeAsString(), once);
}

TEST(HasPythonLayersTest, LooksIntoEveryNet) {
  const caffe::SolverParameter none;
  EXPECT_FALSE(HasPythonLayers(none));
  caffe::NetParameter net;
  net.add_layer()->set_type("ReLU");
  EXPECT_FALSE(HasPythonLayers(net));
  net.add_layer()->set_type("Python");
  EXPECT_TRUE(HasPythonLayers(net));
  caffe::SolverParameter solvers[3];
  *solvers[0].mutable_net_param() = net;
  *solvers[1].mutable_train_net_param() = net;
  solvers[2].add_test_net_param();
  *solvers[2].add_test_net_param() = net;
  for (const caffe::SolverParameter& solver : solvers)
    EXPECT_TRUE(HasPythonLayers(solver));
}

TEST(InlineNetsTest, AnErrorNamesTheNetsFileAndChangesNothing) {
  const ScratchFolder folder;
  folder.Write("good.prototxt", "name: 'good'");
  folder.Write("bad.prototxt", "name: 'bad'\nlayer { nam: 'x' }");
  const std::string path = folder.Write(
      "s.prototxt", "net: 'good.prototxt' test_net: 'bad.prototxt'");
  auto solver = ReadSolver(path).value();
  const std::string before = solver.SerializeAsString();
  const absl::Status status = InlineNets(path, &solver);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("bad.prototxt:2:9: unknown field 'nam'"));
  EXPECT_EQ(solver.SerializeAsString(), before);
}

TEST(InlineNetsTest, OneTrainNetGivenTwiceIsRefused) {
  caffe::SolverParameter solver;
  solver.set_net("n.prototxt");
  solver.mutable_net_param()->set_name("n");
  EXPECT_EQ(InlineNets("s", &solver).code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace cssp
