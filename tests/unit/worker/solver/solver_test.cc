#include "worker/solver/solver.h"

#include <signal.h>

#include <cstdio>
#include <deque>
#include <fstream>
#include <regex>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/worker/solver/log_capture.h"
#include "tests/unit/worker/solver/solver_fixture.h"
#include "worker/data/datum_writer.h"

namespace cssp {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class SolverTest : public SolverFixture {
 protected:
  std::vector<float> Weights(Solver& solver) {
    return {solver.net().weights().begin(), solver.net().weights().end()};
  }
};

TEST_F(SolverTest, NamesWhatCannotTakeAnotherBatch) {
  const auto refusal = [&](const std::string& net) {
    SolverOptions options;
    options.balance = true;
    return std::string(
        Solver::Create(Param("base_lr: 0.01 lr_policy: 'fixed' max_iter: 4", net),
                       layers_, *device_, options)
            .status()
            .message());
  };
  EXPECT_THAT(refusal(kLinearNet),
              testing::AllOf(HasSubstr("--balance"), HasSubstr("'x'"),
                             HasSubstr("batch cannot change")));
  const std::string base = folder_ + "/base";
  {
    auto writer = CreateBase(BaseFormat::kLmdb, base);
    ASSERT_TRUE(writer.ok()) << writer.status();
    caffe::Datum datum;
    datum.set_channels(1);
    datum.set_height(1);
    datum.set_width(2);
    datum.set_data("ab");
    for (const char* key : {"0", "1"})
      ASSERT_TRUE((*writer)->Put(key, datum.SerializeAsString()).ok());
    ASSERT_TRUE((*writer)->Commit().ok());
  }
  const auto net = [&](const std::string& middle, const std::string& loss) {
    return absl::StrCat(
        "layer { name: 'd' type: 'Data' top: 'd' top: 'y' data_param { "
        "backend: LMDB batch_size: 4 source: '", base, "' } } ", middle,
        " layer { name: 'ip' type: 'InnerProduct' bottom: 'd' top: 'ip' "
        "inner_product_param { num_output: 3 } } "
        "layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'y' "
        "top: 'l' ", loss, " }");
  };
  EXPECT_EQ(refusal(net("", "")), "");
  EXPECT_THAT(refusal(net("", "loss_param { normalization: NONE }")),
              HasSubstr("layer l "));
  EXPECT_THAT(
      refusal(net("layer { name: 'r' type: 'Reshape' bottom: 'd' top: 'r' "
                  "reshape_param { shape { dim: 4 dim: 2 } } } "
                  "layer { name: 's' type: 'Silence' bottom: 'r' }", "")),
      HasSubstr("'r'"));
  EXPECT_THAT(
      refusal(net(absl::StrCat(
                      "layer { name: 'e' type: 'Data' top: 'e' data_param { "
                      "backend: LMDB batch_size: 2 source: '", base, "' } } "
                      "layer { name: 's' type: 'Silence' bottom: 'e' }"), "")),
      testing::AllOf(HasSubstr("layer e "), HasSubstr("same batch, here 4")));
}

// Numbers replaced, for comparing the order of lines.
std::vector<std::string> Shapes(std::vector<std::string> lines) {
  for (std::string& line : lines) {
    line = std::regex_replace(line, std::regex(" \\(.* iters\\)"), "");
    line = std::regex_replace(line, std::regex(" = [^,]*"), "");
    line = std::regex_replace(line, std::regex("file .*/"), "file ");
  }
  return lines;
}

TEST_F(SolverTest, LinesComeInBvlcsOrder) {
  auto solver = *Make(
      Param("base_lr: 0.01 lr_policy: 'fixed' max_iter: 4 display: 2 "
            "test_iter: 1 test_interval: 2 snapshot: 2"));
  LogCapture log;
  ASSERT_TRUE(solver->Solve().ok());
  EXPECT_THAT(
      Shapes(log.Caffe()),
      ElementsAre(
          "Solving linear", "Learning Rate Policy: fixed",
          "Iteration 0, Testing net (#0)", "    Test net output #0: loss",
          "Iteration 0, loss", "    Train net output #0: loss",
          "Iteration 0, lr",
          "Snapshotting to binary proto file snap_iter_2.caffemodel",
          "Snapshotting solver state to binary proto file "
          "snap_iter_2.solverstate",
          "Iteration 2, Testing net (#0)", "    Test net output #0: loss",
          "Iteration 2, loss", "    Train net output #0: loss",
          "Iteration 2, lr",
          "Snapshotting to binary proto file snap_iter_4.caffemodel",
          "Snapshotting solver state to binary proto file "
          "snap_iter_4.solverstate",
          "Iteration 4, loss", "Iteration 4, Testing net (#0)",
          "    Test net output #0: loss", "Optimization Done."));
}

TEST_F(SolverTest, NoFirstTestAndNoLastSnapshotWhereNotWanted) {
  auto solver = *Make(
      Param("base_lr: 0.01 lr_policy: 'fixed' max_iter: 3 test_iter: 1 "
            "test_interval: 2 test_initialization: false "
            "snapshot_after_train: false"));
  LogCapture log;
  ASSERT_TRUE(solver->Solve().ok());
  EXPECT_THAT(Shapes(log.Caffe()),
              ElementsAre("Solving linear", "Learning Rate Policy: fixed",
                          "Iteration 2, Testing net (#0)",
                          "    Test net output #0: loss",
                          "Optimization Done."));
}

// All snapshot formats, solvers with one and with two histories.
class ResumeTest : public SolverTest,
                   public testing::WithParamInterface<std::string> {};

TEST_P(ResumeTest, ContinuesToTheSameBits) {
  const caffe::SolverParameter param =
      Param(GetParam() + " max_iter: 8 snapshot: 3");
  auto straight = *Make(param);
  ASSERT_TRUE(straight->Solve().ok());
  auto resumed = *Make(param);
  const std::string state = SnapshotPaths(param, 3).solverstate;
  ASSERT_EQ(resumed->Restore(state), absl::OkStatus());
  EXPECT_EQ(resumed->iter(), 3);
  EXPECT_NE(Weights(*resumed), Weights(*straight));
  ASSERT_TRUE(resumed->Solve().ok());
  EXPECT_EQ(resumed->iter(), 8);
  EXPECT_EQ(Weights(*resumed), Weights(*straight));
}

INSTANTIATE_TEST_SUITE_P(
    Formats, ResumeTest,
    testing::Values(
        "base_lr: 0.01 momentum: 0.9 lr_policy: 'inv' gamma: 0.1 power: 0.7",
        "base_lr: 0.01 momentum: 0.9 lr_policy: 'fixed' snapshot_format: HDF5",
        "type: 'Adam' base_lr: 0.01 momentum: 0.9 lr_policy: 'fixed'",
        "type: 'AdaDelta' base_lr: 1 momentum: 0.9 lr_policy: 'multistep' "
        "gamma: 0.1 stepvalue: 2 stepvalue: 5 snapshot_format: HDF5",
        "base_lr: 0.1 lr_policy: 'plateau' gamma: 0.5 plateau_winsize: 2 "
        "average_loss: 3",
        "base_lr: 0.1 lr_policy: 'plateau' gamma: 0.5 plateau_winsize: 2 "
        "average_loss: 3 snapshot_format: HDF5",
        "base_lr: 0.01 momentum: 0.9 lr_policy: 'cosine' lars_eta: 0.1 "
        "weight_decay: 0.01"));

// A rate this high never improves: every second clock is a step.
TEST_F(SolverTest, ThePlateauLowersTheRateAndSaysSo) {
  auto solver = *Make(
      Param("base_lr: 3 lr_policy: 'plateau' gamma: 0.5 plateau_winsize: 2 "
            "max_iter: 5 display: 1 snapshot_after_train: false"));
  LogCapture log;
  ASSERT_TRUE(solver->Solve().ok());
  EXPECT_THAT(log.Caffe(), testing::IsSupersetOf({"Iteration 1, lr = 3",
                                                  "Iteration 2, lr = 1.5",
                                                  "Iteration 4, lr = 0.75"}));
}

TEST_F(SolverTest, RestoreRefusesWhatDoesNotFitAndChangesNothing) {
  const std::string sgd = "base_lr: 0.01 lr_policy: 'fixed' max_iter: 2";
  auto solver = *Make(Param(sgd));
  ASSERT_TRUE(solver->Solve().ok());
  const std::string state =
      SnapshotPaths(solver->param(), 2).solverstate;

  auto adam = *Make(Param("type: 'Adam' " + sgd));
  const std::vector<float> before = Weights(*adam);
  EXPECT_THAT(std::string(adam->Restore(state).message()),
              HasSubstr("another net or solver type?"));
  EXPECT_EQ(Weights(*adam), before);

  std::ofstream(folder_ + "/short.solverstate") << "x";
  EXPECT_FALSE(adam->Restore(folder_ + "/short.solverstate").ok());
  EXPECT_FALSE(adam->Restore(folder_ + "/absent.solverstate").ok());
  EXPECT_FALSE(
      adam->Restore(SnapshotPaths(solver->param(), 2).caffemodel).ok());
  EXPECT_EQ(adam->iter(), 0);
}

// Gives its requests one a poll.
class Script : public SolverActions {
 public:
  explicit Script(std::deque<SolverAction> actions)
      : actions_(std::move(actions)) {}
  SolverAction Poll() override {
    if (actions_.empty()) return SolverAction::kNone;
    const SolverAction action = actions_.front();
    actions_.pop_front();
    return action;
  }

 private:
  std::deque<SolverAction> actions_;
};

TEST_F(SolverTest, RequestsAreHonouredBetweenIterations) {
  Script script({SolverAction::kNone, SolverAction::kSnapshot,
                 SolverAction::kNone, SolverAction::kStop});
  auto solver = *Make(
      Param("base_lr: 0.01 lr_policy: 'fixed' max_iter: 100"), &script);
  LogCapture log;
  ASSERT_TRUE(solver->Solve().ok());
  EXPECT_EQ(solver->iter(), 4);
  EXPECT_TRUE(solver->stopped_early());
  EXPECT_THAT(
      Shapes(log.Caffe()),
      ElementsAre("Solving linear", "Learning Rate Policy: fixed",
                  "Snapshotting to binary proto file snap_iter_2.caffemodel",
                  "Snapshotting solver state to binary proto file "
                  "snap_iter_2.solverstate",
                  "Snapshotting to binary proto file snap_iter_4.caffemodel",
                  "Snapshotting solver state to binary proto file "
                  "snap_iter_4.solverstate",
                  "Optimization stopped early."));
}

TEST_F(SolverTest, AStopInterruptsATest) {
  Script script({SolverAction::kNone, SolverAction::kStop});
  auto solver = *Make(
      Param("base_lr: 0.01 lr_policy: 'fixed' max_iter: 100 test_iter: 50 "
            "test_interval: 10 snapshot_after_train: false"),
      &script);
  LogCapture log;
  ASSERT_TRUE(solver->Solve().ok());
  EXPECT_EQ(solver->iter(), 0);
  EXPECT_THAT(Shapes(log.Caffe()), testing::Contains("Test interrupted."));
}

TEST_F(SolverTest, MistakesAreNamed) {
  const std::string base = "base_lr: 0.01 max_iter: 4 ";
  EXPECT_THAT(std::string(Make(Param(base + "lr_policy: 'none'"))
                              .status()
                              .message()),
              HasSubstr("none"));
  EXPECT_THAT(
      std::string(Make(Param(base + "lr_policy: 'fixed' type: 'Sgdd'"))
                      .status()
                      .message()),
      HasSubstr("Sgdd"));
  EXPECT_FALSE(
      Make(Param(base + "lr_policy: 'fixed' test_iter: 2 test_iter: 3 "
                        "test_state { stage: 'a' } test_interval: 1"))
          .ok());
  caffe::SolverParameter nowhere = Param(base + "lr_policy: 'fixed'");
  nowhere.set_snapshot_prefix(folder_ + "/absent/snap");
  EXPECT_THAT(std::string(Make(nowhere).status().message()),
              HasSubstr("snapshot_prefix"));
}

TEST_F(SolverTest, SeveralTestNetsWithStates) {
  auto solver = *Make(
      Param("base_lr: 0.01 lr_policy: 'fixed' max_iter: 1 test_interval: 1 "
            "test_iter: 1 test_iter: 2 test_state {} "
            "test_state { stage: 'extra' } snapshot_after_train: false",
            std::string(kLinearNet) +
                "layer { name: 'extra' type: 'EuclideanLoss' bottom: 'ip' "
                "bottom: 'y' top: 'extra' include { stage: 'extra' } }"));
  ASSERT_EQ(solver->test_nets().size(), 2u);
  EXPECT_EQ(solver->test_nets()[0]->blob("extra"), nullptr);
  EXPECT_NE(solver->test_nets()[1]->blob("extra"), nullptr);
  LogCapture log;
  ASSERT_TRUE(solver->Solve().ok());
  EXPECT_THAT(Shapes(log.Caffe()),
              testing::Contains("Iteration 1, Testing net (#1)"));
}

TEST_F(SolverTest, ATestSeesTheWeightsOfItsIteration) {
  auto solver = *Make(
      Param("base_lr: 0.05 lr_policy: 'fixed' max_iter: 40 test_iter: 4 "
            "test_interval: 20 snapshot_after_train: false"));
  LogCapture log;
  ASSERT_TRUE(solver->Solve().ok());
  std::vector<float> losses;
  for (const std::string& line : log.Caffe()) {
    float value = 0;
    if (std::sscanf(line.c_str(), "    Test net output #0: loss = %f",
                    &value) == 1)
      losses.push_back(value);
  }
  ASSERT_EQ(losses.size(), 3u);
  EXPECT_LT(losses[1], losses[0]);
  EXPECT_NE(losses[1], losses[2]);
}

TEST_F(SolverTest, DividesTheGlobalBatch) {
  caffe::NetParameter net = Param("base_lr: 1").net_param();
  ASSERT_TRUE(DivideBatches(2, &net).ok());
  EXPECT_EQ(net.layer(0).dummy_data_param().shape(0).dim(0), 2);
  EXPECT_EQ(net.layer(0).dummy_data_param().shape(0).dim(1), 6);
  const absl::Status remainder = DivideBatches(3, &net);
  EXPECT_EQ(remainder.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(remainder.message()), HasSubstr("layer 'x'"));
}

TEST(SolverActionsTest, SignalsBecomeRequests) {
  ASSERT_TRUE(ParseSolverAction("sigint_effect", "stop").ok());
  EXPECT_THAT(std::string(ParseSolverAction("sigint_effect", "die")
                              .status()
                              .message()),
              HasSubstr("--sigint_effect"));
  SignalActions actions(SolverAction::kStop, SolverAction::kSnapshot);
  EXPECT_EQ(actions.Poll(), SolverAction::kNone);
  raise(SIGHUP);
  EXPECT_EQ(actions.Poll(), SolverAction::kSnapshot);
  raise(SIGINT);
  raise(SIGHUP);
  std::vector<SolverAction> got = {actions.Poll(), actions.Poll()};
  EXPECT_THAT(got, testing::UnorderedElementsAre(SolverAction::kStop,
                                                 SolverAction::kSnapshot));
  EXPECT_EQ(actions.Poll(), SolverAction::kNone);
}

}  // namespace
}  // namespace cssp
