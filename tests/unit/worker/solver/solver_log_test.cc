// Lines of Caffe's log beside the loop's own, and the memory report.
#include <cmath>
#include <regex>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/worker/solver/log_capture.h"
#include "tests/unit/worker/solver/solver_fixture.h"
#include "worker/net/execution_plan.h"

namespace cssp {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class SolverLogTest : public SolverFixture {};

TEST_F(SolverLogTest, SaysWhatIsCreatedFromWhat) {
  LogCapture log;
  auto solver =
      *Make(Param("base_lr: 0.01 lr_policy: 'fixed' max_iter: 1 test_iter: 1 "
                  "test_interval: 1",
                  std::string(kLinearNet) +
                      "layer { name: 'more' type: 'EuclideanLoss' bottom: 'ip' "
                      "bottom: 'y' top: 'more' include { phase: TEST } }"));
  EXPECT_THAT(log.From("Initializing solver"), SizeIs(1));
  EXPECT_THAT(log.From("Initializing solver")[0],
              HasSubstr("parameters: \ntest_iter: 1\n"));
  EXPECT_THAT(log.From("Creating t"),
              ElementsAre("Creating training net specified in net_param.",
                          "Creating test net (#0) specified by net_param"));
  EXPECT_THAT(log.From("The NetState"),
              ElementsAre("The NetState phase (0) differed from the phase (1) "
                          "specified by a rule in layer more"));
}

TEST_F(SolverLogTest, NamesTheNetFiles) {
  caffe::SolverParameter solver;
  solver.set_train_net("train.prototxt");
  solver.add_test_net("test.prototxt");
  solver.add_test_iter(1);
  EXPECT_EQ(SourcesOf(solver).train, "from train_net file: train.prototxt");
  EXPECT_THAT(SourcesOf(solver).tests,
              ElementsAre("test_net file: test.prototxt"));
  caffe::SolverParameter one;
  one.set_net("lenet.prototxt");
  one.add_test_iter(1);
  one.add_test_iter(1);
  EXPECT_EQ(SourcesOf(one).train, "from net file: lenet.prototxt");
  EXPECT_THAT(SourcesOf(one).tests, ElementsAre("net file: lenet.prototxt",
                                                "net file: lenet.prototxt"));
}

TEST_F(SolverLogTest, MultistepSaysWhenItSteps) {
  auto solver = *Make(
      Param("base_lr: 1 lr_policy: 'multistep' gamma: 0.5 stepvalue: 2 "
            "stepvalue: 3 max_iter: 5 display: 2 snapshot_after_train: false"));
  LogCapture log;
  ASSERT_TRUE(solver->Solve().ok());
  std::vector<std::string> lines;
  for (const std::string& line : log.Caffe())
    if (line.find("lr = ") != line.npos || line.find("step = ") != line.npos)
      lines.push_back(line);
  EXPECT_THAT(lines, ElementsAre("Iteration 0, lr = 1",
                                 "MultiStep Status: Iteration 2, step = 1",
                                 "Iteration 2, lr = 0.5",
                                 "MultiStep Status: Iteration 3, step = 2",
                                 "Iteration 4, lr = 0.25"));
}

TEST_F(SolverLogTest, ClippingIsSaid) {
  auto solver = *Make(
      Param("base_lr: 1 lr_policy: 'fixed' max_iter: 1 clip_gradients: 2"));
  std::vector<float> mean(solver->net().weights().size(), 0);
  mean[solver->net().params()[0].offset] = 3;
  LogCapture log;
  ASSERT_TRUE(solver->local()->Update(0, mean).ok());
  EXPECT_THAT(log.From("Gradient clipping"),
              ElementsAre("Gradient clipping: scaling down gradients (L2 norm "
                          "3 > 2) by scale factor 0.666667"));
  mean[solver->net().params()[0].offset] = 1;
  LogCapture quiet;
  ASSERT_TRUE(solver->local()->Update(1, mean).ok());
  EXPECT_THAT(quiet.From("Gradient clipping"), IsEmpty());
}

// The numbers are checked against the net's own arrays.
TEST_F(SolverLogTest, DebugInfoGivesMeanMagnitudes) {
  auto solver = *Make(
      Param("base_lr: 0.01 lr_policy: 'fixed' max_iter: 1 debug_info: true"));
  const std::vector<float> before(solver->net().weights().begin(),
                                  solver->net().weights().end());
  LogCapture log;
  ASSERT_TRUE(solver->Step(1).ok());
  Net& net = solver->net();
  const int ip = net.param_of(1, 0), bias = net.param_of(1, 1);
  const auto mean = [&](absl::Span<const float> slab, int param) {
    double sum = 0;
    const NetParam& p = net.params()[param];
    for (int64_t i = 0; i < p.shape.count(); ++i)
      sum += std::abs(slab[p.offset + i]);
    return absl::StrFormat("%.6g", static_cast<float>(sum / p.shape.count()));
  };
  const auto gradients = net.gradients(net.last_generation());
  const auto forward = log.From("    [Forward]");
  ASSERT_THAT(forward, SizeIs(6));  // x, y; ip and its two; loss
  EXPECT_THAT(forward[0],
              testing::StartsWith("    [Forward] Layer x, top blob x data: "));
  EXPECT_EQ(forward[3],
            "    [Forward] Layer ip, param blob 0 data: " + mean(before, ip));
  EXPECT_EQ(forward[4],
            "    [Forward] Layer ip, param blob 1 data: " + mean(before, bias));
  const auto backward = log.From("    [Backward]");
  ASSERT_THAT(backward, SizeIs(4));  // nothing flows to the labels or the data
  EXPECT_THAT(
      backward[0],
      testing::StartsWith("    [Backward] Layer loss, bottom blob ip diff: "));
  EXPECT_EQ(backward[1], "    [Backward] Layer ip, param blob 0 diff: " +
                             mean(gradients, ip));
  EXPECT_EQ(backward[2], "    [Backward] Layer ip, param blob 1 diff: " +
                             mean(gradients, bias));
  EXPECT_THAT(backward[3],
              testing::StartsWith("    [Backward] All net params (data, diff): "
                                  "L1 norm = ("));
}

// Looking at the numbers changes none.
TEST_F(SolverLogTest, DebugInfoTrainsTheSame) {
  const std::string fields = "base_lr: 0.01 lr_policy: 'fixed' max_iter: 3 ";
  auto plain = *Make(Param(fields));
  auto talking = *Make(Param(fields + "debug_info: true"));
  ASSERT_TRUE(plain->Step(3).ok());
  ASSERT_TRUE(talking->Step(3).ok());
  EXPECT_EQ(plain->net().weights(), talking->net().weights());
}

TEST_F(SolverLogTest, MemoryIsReportedBeforeTraining) {
  auto solver =
      *Make(Param("type: 'Adam' base_lr: 0.01 lr_policy: 'fixed' max_iter: 1 "
                  "test_iter: 1 test_interval: 1 snapshot_after_train: false"));
  const MemoryReport report = solver->memory();
  const int64_t slab = 4 * solver->net().weights().size();
  EXPECT_EQ(report.parameters, slab);
  EXPECT_EQ(report.parameter_gradients, 2 * slab);
  EXPECT_EQ(report.history, 2 * slab);  // Adam's two
  EXPECT_EQ(report.train.activations,
            static_cast<int64_t>(solver->net().plan().data_bytes));
  ASSERT_THAT(report.tests, SizeIs(1));
  EXPECT_EQ(report.tests[0].gradients, 0);
  EXPECT_EQ(report.total(),
            5 * slab + report.train.total() + report.tests[0].total());
  LogCapture log;
  ASSERT_TRUE(solver->Solve().ok());
  EXPECT_THAT(log.From("Memory on CPU (1 thread"),
              Contains(HasSubstr("history")));
}

}  // namespace
}  // namespace cssp
