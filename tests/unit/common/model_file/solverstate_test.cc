#include "common/model_file/solverstate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/model_file/blob_proto.h"
#include "common/model_file/caffemodel.h"
#include "tests/unit/common/model_file/scratch_folder.h"

namespace cssp {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// More than ten arrays: "10" sorts before "2" in a group.
caffe::SolverState State() {
  caffe::SolverState state;
  state.set_iter(4000);
  state.set_learned_net("quick_iter_4000.caffemodel");
  state.set_current_step(2);
  for (int i = 0; i < 12; ++i)
    WriteBlob(Shape{2}, {float(i), i + 0.5f}, {}, state.add_history());
  return state;
}

class SolverStateTest : public ::testing::TestWithParam<const char*> {
 protected:
  std::string Path() const { return folder_.Path(GetParam()); }
  ScratchFolder folder_;
};

TEST_P(SolverStateTest, RoundTrip) {
  ASSERT_TRUE(WriteSolverState(State(), Path()).ok());
  EXPECT_EQ(folder_.Count(), 1);
  const auto read = ReadSolverState(Path());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->iter(), 4000);
  EXPECT_EQ(read->current_step(), 2);
  EXPECT_EQ(read->learned_net(), "quick_iter_4000.caffemodel");
  ASSERT_EQ(read->history_size(), 12);
  for (int i = 0; i < 12; ++i) {
    EXPECT_THAT(read->history(i).shape().dim(), ElementsAre(2));
    EXPECT_THAT(read->history(i).data(), ElementsAre(i, i + 0.5f));
  }
}

TEST_P(SolverStateTest, DamageIsNoticed) {
  ASSERT_TRUE(WriteSolverState(State(), Path()).ok());
  const std::string bytes = ScratchFolder::Read(Path());
  for (size_t size : {bytes.size() - 1, bytes.size() / 2 + 1}) {
    folder_.Write(GetParam(), bytes.substr(0, size));
    EXPECT_EQ(ReadSolverState(Path()).status().code(),
              absl::StatusCode::kDataLoss)
        << size;
  }
}

TEST_P(SolverStateTest, ACaffemodelIsNamedAsWrong) {
  caffe::NetParameter net;
  net.set_name("n");
  net.add_layer()->set_name("a");
  WriteBlob(Shape{1}, {1.0f}, {}, net.mutable_layer(0)->add_blobs());
  ASSERT_TRUE(WriteCaffemodel(net, Path()).ok());
  const auto read = ReadSolverState(Path());
  EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(read.status().message()),
              HasSubstr("is it a .solverstate"));
}

INSTANTIATE_TEST_SUITE_P(Forms, SolverStateTest,
                         ::testing::Values("s.solverstate",
                                           "s.solverstate.h5"));

TEST(SolverStateBoundsTest, NegativeIterationIsRefused) {
  const ScratchFolder folder;
  caffe::SolverState state;
  state.set_iter(-1);
  const std::string path = folder.Path("s.solverstate");
  ASSERT_TRUE(WriteSolverState(state, path).ok());
  EXPECT_EQ(ReadSolverState(path).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace cssp
