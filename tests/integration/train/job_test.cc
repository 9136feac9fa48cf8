// Jobs on real processes: staleness, stragglers, dead workers, snapshots.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "google/protobuf/text_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/train/cluster.h"
#include "tests/integration/train/reference_trainer.h"
#include "tests/integration/train/small_data.h"
#include "worker/solver/snapshot.h"

namespace cssp {
namespace {

using testing::HasSubstr;
using testing::Not;

const char kSgd[] =
    "base_lr: 0.01 momentum: 0.9 weight_decay: 0.004 lr_policy: 'fixed'";

class JobTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(MakeSmallBase(folder_ / "lmdb").ok());
  }
  control::JobSpec Spec(const std::string& fields, int64_t clocks,
                        int workers) {
    control::JobSpec spec;
    *spec.mutable_solver() =
        SmallSolver(fields, SmallNet(folder_ / "lmdb", 4, ""), clocks);
    spec.mutable_solver()->set_snapshot_prefix(folder_ / "out");
    spec.set_workers(workers);
    return spec;
  }
  std::string Output(const std::string& command, int* code) {
    std::string out;
    FILE* pipe = popen((command + " 2>&1").c_str(), "r");
    char line[4096];
    while (std::fgets(line, sizeof(line), pipe)) out += line;
    *code = WEXITSTATUS(pclose(pipe));
    return out;
  }
  // A solver and its net as files.
  std::string WriteSolver(const std::string& fields, int64_t clocks,
                          const std::string& prefix) {
    std::ofstream(folder_ / "net.prototxt")
        << SmallNet(folder_ / "lmdb", 4, "");
    const std::string path = folder_ / absl::StrCat(prefix, ".prototxt");
    std::ofstream(path) << fields << " net: '" << (folder_ / "net.prototxt")
                        << "' max_iter: " << clocks
                        << " random_seed: 7 solver_mode: CPU "
                        << "snapshot_prefix: '" << (folder_ / prefix) << "'";
    return path;
  }
  std::string Bytes(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    EXPECT_TRUE(in) << path;
    return std::string(std::istreambuf_iterator<char>(in), {});
  }

  TempFolder folder_;
};

TEST_F(JobTest, StalenessStaysWithinItsBoundBehindAStraggler) {
  auto cluster = Cluster::Start(folder_, 2);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  control::JobSpec spec = Spec(kSgd, 120, 3);
  spec.set_staleness(2);
  spec.set_fresh_wait(0);
  spec.set_straggler("rotating:6");
  spec.set_chunk_bytes(16384);
  auto status = (*cluster)->Run(spec, absl::Minutes(2));
  ASSERT_TRUE(status.ok()) << status.status();
  ASSERT_EQ(status->state(), control::JOB_SUCCEEDED) << status->message();
  ASSERT_EQ(status->workers_size(), 3);
  int64_t late = 0, reads = 0;
  for (const control::WorkerStatus& worker : status->workers()) {
    EXPECT_LE(worker.staleness_histogram_size(), 3) << "beyond s = 2";
    for (int i = 0; i < worker.staleness_histogram_size(); ++i) {
      reads += worker.staleness_histogram(i);
      if (i > 0) late += worker.staleness_histogram(i);
    }
  }
  EXPECT_GT(reads, 3 * 110);
  EXPECT_GT(late, 0) << "with a straggler and no fresh_wait someone runs ahead";
}

struct Mode {
  const char* name;
  const char* fields;  // of the JobSpec
  int bound;           // on observed staleness; < 0: not looked at
};

class ModeTest : public JobTest, public testing::WithParamInterface<Mode> {};

TEST_P(ModeTest, TrainsToTheEnd) {
  auto cluster = Cluster::Start(folder_, 2);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  control::JobSpec spec = Spec(kSgd, 120, 3);
  spec.set_straggler("rotating:4");
  spec.set_chunk_bytes(16384);
  control::JobSpec mode;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(GetParam().fields,
                                                            &mode));
  spec.MergeFrom(mode);
  auto status = (*cluster)->Run(spec, absl::Minutes(2));
  ASSERT_TRUE(status.ok()) << status.status();
  ASSERT_EQ(status->state(), control::JOB_SUCCEEDED) << status->message();
  ASSERT_EQ(status->exports_size(), 1);
  EXPECT_EQ(status->exports(0).clock(), 120);
  if (GetParam().bound < 0) return;
  for (const control::WorkerStatus& worker : status->workers())
    EXPECT_LE(worker.staleness_histogram_size(), GetParam().bound + 1);
}

INSTANTIATE_TEST_SUITE_P(
    Modes, ModeTest,
    testing::Values(
        Mode{"PerPush", "ssp_update: PER_PUSH staleness: 1", 1},
        Mode{"PerPushExact", "ssp_update: PER_PUSH", 0},
        Mode{"Async", "ssp_update: PER_PUSH staleness: -1 max_ahead: 8", 8},
        Mode{"Lookahead", "staleness: 2 lookahead: true fresh_wait: 0", 2},
        Mode{"LazyPull", "staleness: 2 lazy_pull: true", 2},
        Mode{"Backup", "backup: 1", -1},
        Mode{"Dssp", "staleness: 1 dssp { upper: 3 }", 3}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_F(JobTest, AKilledWorkerDoesNotTakeTheJobAlong) {
  auto cluster = Cluster::Start(folder_, 2);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  control::JobSpec spec = Spec(kSgd, 250, 3);
  // Slow enough to be met in the middle.
  spec.set_straggler("0:20");
  ASSERT_TRUE((*cluster)->Submit(spec).ok());
  ASSERT_TRUE((*cluster)->AwaitClock(30, absl::Minutes(1)).ok());
  (*cluster)->KillWorker(2);
  auto status = (*cluster)->AwaitEnd(absl::Minutes(3));
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(status->state(), control::JOB_SUCCEEDED) << status->message();
  for (const control::WorkerStatus& worker : status->workers())
    EXPECT_EQ(worker.state(), worker.rank() == 2 ? "dead" : "done");
  ASSERT_EQ(status->exports_size(), 1);
  EXPECT_EQ(status->exports(0).clock(), 250);
}

TEST_F(JobTest, SnapshotsAreExportedAtTheirClocks) {
  auto cluster = Cluster::Start(folder_, 1);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  control::JobSpec spec = Spec(absl::StrCat(kSgd, " snapshot: 20"), 40, 2);
  auto status = (*cluster)->Run(spec, absl::Minutes(2));
  ASSERT_TRUE(status.ok()) << status.status();
  ASSERT_EQ(status->state(), control::JOB_SUCCEEDED) << status->message();
  ASSERT_EQ(status->exports_size(), 2);

  // Resumed from the middle, by a job of another cluster, it ends the same.
  const std::string first = Bytes(status->exports(1).caffemodel());
  std::remove(status->exports(1).caffemodel().c_str());
  cluster->reset();
  TempFolder other;
  auto again = Cluster::Start(other, 2);
  ASSERT_TRUE(again.ok()) << again.status();
  spec.set_snapshot_file(status->exports(0).solverstate());
  auto resumed = (*again)->Run(spec, absl::Minutes(2));
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  ASSERT_EQ(resumed->state(), control::JOB_SUCCEEDED) << resumed->message();
  EXPECT_EQ(resumed->start_clock(), 20);
  EXPECT_EQ(Bytes(status->exports(1).caffemodel()) == first, true);
}

TEST_F(JobTest, OneWorkerEqualsSingleProcessCaffe) {
  const std::string alone = WriteSolver(kSgd, 30, "alone");
  int code = 0;
  const std::string log = Output(
      absl::StrCat(CSSP_CAFFE " train --threads=1 --solver=", alone), &code);
  ASSERT_EQ(code, 0) << log;
  EXPECT_THAT(log, HasSubstr("Optimization Done."));

  auto cluster = Cluster::Start(folder_, 2);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  auto status = (*cluster)->Run(Spec(kSgd, 30, 1), absl::Minutes(2));
  ASSERT_TRUE(status.ok()) << status.status();
  ASSERT_EQ(status->state(), control::JOB_SUCCEEDED) << status->message();
  EXPECT_TRUE(Bytes(folder_ / "alone_iter_30.caffemodel") ==
              Bytes(folder_ / "out_iter_30.caffemodel"));
}

TEST_F(JobTest, SingleProcessResumesToTheSameBits) {
  const std::string solver =
      WriteSolver(absl::StrCat(kSgd, " snapshot: 10"), 30, "run");
  int code = 0;
  std::string log = Output(
      absl::StrCat(CSSP_CAFFE " train --threads=1 --solver=", solver), &code);
  ASSERT_EQ(code, 0) << log;
  const std::string straight = Bytes(folder_ / "run_iter_30.caffemodel");
  log = Output(absl::StrCat(CSSP_CAFFE " train --threads=1 --solver=", solver,
                            " --snapshot=",
                            folder_ / "run_iter_10.solverstate"),
               &code);
  ASSERT_EQ(code, 0) << log;
  EXPECT_THAT(log, HasSubstr("Restoring previous solver status"));
  EXPECT_TRUE(Bytes(folder_ / "run_iter_30.caffemodel") == straight);
  // Weights are no solver state.
  log = Output(absl::StrCat(CSSP_CAFFE " train --solver=", solver,
                            " --snapshot=",
                            folder_ / "run_iter_10.caffemodel"),
               &code);
  EXPECT_EQ(code, 2);
  EXPECT_THAT(log, HasSubstr("--weights"));
}

// P workers of batch B against one process with batch P*B: the same records,
// sums in another order.
class BigBatchTest : public JobTest,
                     public testing::WithParamInterface<std::string> {};

// Relative L2 distance after `clocks`.
double Distance(const std::string& base, const std::string& solver,
                bool smooth, int64_t clocks) {
  const auto train = [&](int batch, int workers) {
    auto trainer = ReferenceTrainer::Create(
        SmallSolver(solver, SmallNet(base, batch, "", smooth), clocks),
        workers);
    EXPECT_TRUE(trainer.ok()) << trainer.status();
    EXPECT_TRUE((*trainer)->Run(clocks).ok());
    return *std::move(trainer);
  };
  const auto parts = train(4, 4), whole = train(16, 1);
  const auto a = parts->net().weights(), b = whole->net().weights();
  double difference = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    norm += double{b[i]} * b[i];
  }
  return std::sqrt(difference / norm);
}

TEST_P(BigBatchTest, OneClockFromEqualWeights) {
  EXPECT_LE(Distance(folder_ / "lmdb", GetParam(), false, 1), 1e-5);
}

TEST_P(BigBatchTest, AHundredClocksOfASmoothNet) {
  const double bar =
      GetParam().find("AdaDelta") == std::string::npos ? 1e-5 : 1e-4;
  EXPECT_LE(Distance(folder_ / "lmdb", GetParam(), true, 100), bar);
}

struct Balanced {
  const char* name;
  const char* fields;  // of the solver
  const char* job;     // of the JobSpec
};

// Batches by measured speed: whoever takes how many, together they are the
// global batch.
class BalanceTest : public JobTest,
                    public testing::WithParamInterface<Balanced> {};

TEST_P(BalanceTest, UnequalBatchesEqualOneProcessOnTheGlobalBatch) {
  constexpr int64_t kClocks = 120;
  const auto solver = [&](int batch) {
    caffe::SolverParameter param = SmallSolver(
        GetParam().fields, SmallNet(folder_ / "lmdb", batch, "", true),
        kClocks);
    param.set_snapshot_prefix(folder_ / "out");
    return param;
  };
  auto whole = ReferenceTrainer::Create(solver(52), 1);
  ASSERT_TRUE(whole.ok()) << whole.status();
  ASSERT_TRUE((*whole)->Run(kClocks).ok());
  const std::vector<float> expected((*whole)->net().weights().begin(),
                                    (*whole)->net().weights().end());

  auto cluster = Cluster::Start(folder_, 2);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  control::JobSpec spec;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(GetParam().job,
                                                            &spec));
  *spec.mutable_solver() = solver(13);
  spec.set_workers(4);
  spec.set_balance(true);
  spec.set_straggler("3:4@20");
  auto status = (*cluster)->Run(spec, absl::Minutes(2));
  ASSERT_TRUE(status.ok()) << status.status();
  ASSERT_EQ(status->state(), control::JOB_SUCCEEDED) << status->message();

  // Work has moved, and no record twice or never.
  ASSERT_EQ(status->workers_size(), 4);
  int64_t total = 0;
  for (const control::WorkerStatus& worker : status->workers())
    total += worker.batch();
  EXPECT_EQ(total, 52);
  EXPECT_LE(status->workers(3).batch(), 7) << "a quarter of the others' speed";
  const int passes = spec.solver().iter_size();
  int orders = 0;
  for (const control::Order& order : status->orders()) {
    if (!order.has_membership()) continue;
    ++orders;
    EXPECT_EQ(order.membership().first_record(),
              order.effective_clock() * passes * 52);
  }
  EXPECT_GE(orders, 1);

  auto again = ReferenceTrainer::Create(solver(52), 1);
  ASSERT_TRUE(again.ok()) << again.status();
  ASSERT_TRUE(LoadWeightsFiles(folder_ / "out_iter_120.caffemodel",
                               (*again)->net()).ok());
  const auto weights = (*again)->net().weights();
  ASSERT_EQ(weights.size(), expected.size());
  double difference = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double d = double{weights[i]} - expected[i];
    difference += d * d;
    norm += double{expected[i]} * expected[i];
  }
  EXPECT_LE(std::sqrt(difference / norm), 1e-5);
}

const char kSteps[] =
    "base_lr: 0.01 momentum: 0.9 lr_policy: 'plateau' gamma: 0.7 "
    "plateau_winsize: 5 plateau_winsize: 9 average_loss: 4 iter_size: 2";

INSTANTIATE_TEST_SUITE_P(
    Jobs, BalanceTest,
    testing::Values(Balanced{"Sgd", kSgd, ""},
                    Balanced{"IterSizeAndPlateau", kSteps,
                             "chunk_bytes: 16384"}),
    [](const auto& info) { return std::string(info.param.name); });

INSTANTIATE_TEST_SUITE_P(
    AllSolvers, BigBatchTest,
    testing::Values(
        kSgd, "type: 'Nesterov' base_lr: 0.01 momentum: 0.9 lr_policy: 'fixed'",
        "type: 'AdaGrad' base_lr: 0.001 lr_policy: 'fixed'",
        "type: 'RMSProp' base_lr: 0.0001 lr_policy: 'fixed'",
        "type: 'AdaDelta' base_lr: 1 momentum: 0.95 delta: 1e-6 "
        "lr_policy: 'fixed'",
        "type: 'Adam' base_lr: 0.0001 momentum: 0.9 lr_policy: 'fixed'"));

}  // namespace
}  // namespace cssp
