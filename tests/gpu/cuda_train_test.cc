// Training on a GPU: against the CPU, against itself, and against a parameter
// service with one and two servers.  Needs a GPU: skipped by name elsewhere.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/integration/train/cluster.h"
#include "tests/integration/train/reference_trainer.h"
#include "tests/integration/train/small_data.h"
#include "worker/layers/builtin_layers.h"
#include "worker/solver/snapshot.h"
#include "worker/solver/solver.h"

namespace cssp {
namespace {

const char kSgd[] =
    "base_lr: 0.01 momentum: 0.9 weight_decay: 0.004 lr_policy: 'fixed'";
const char kBatchNorm[] =
    "layer { name: 'bn' type: 'BatchNorm' bottom: 'conv1' top: 'conv1' } "
    "layer { name: 'scale' type: 'Scale' bottom: 'conv1' top: 'conv1' "
    "scale_param { bias_term: true } }";

using Floats = std::vector<float>;

Floats Copied(absl::Span<const float> values) {
  return {values.begin(), values.end()};
}

int64_t Different(const Floats& a, absl::Span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  int64_t different = 0;
  for (size_t i = 0; i < a.size(); ++i)
    different += std::memcmp(&a[i], &b[i], sizeof(float)) != 0;
  return different;
}

// The largest difference in any blob, as a share of its largest value.  A blob
// that is all rounding (a bias in front of BatchNorm has no gradient) counts by
// what it could do to others.
double Distance(absl::Span<const NetParam> blobs, const Floats& a,
                const Floats& b) {
  double worst = 0;
  for (const NetParam& blob : blobs) {
    double largest = 0, apart = 0;
    for (int64_t i = 0; i < blob.shape.count(); ++i) {
      const float x = a[blob.offset + i], y = b[blob.offset + i];
      largest = std::max<double>(largest, std::abs(x));
      apart = std::max<double>(apart, std::abs(x - y));
    }
    constexpr double kRounding = 1e-3;
    worst = std::max(worst, apart / std::max(largest, kRounding));
  }
  return worst;
}

class CudaTrain : public testing::Test {
 protected:
  void SetUp() override {
    const auto gpu = Gpu();
    if (!gpu.ok()) GTEST_SKIP() << "no GPU: " << gpu.status().message();
    ASSERT_TRUE(MakeSmallBase(folder_ / "lmdb").ok());
  }
  static absl::StatusOr<std::unique_ptr<Device>> Gpu() {
    return MakeCudaDevice(0, {.deterministic = true});
  }
  caffe::SolverParameter Param(const std::string& layers, int64_t clocks,
                               bool smooth) {
    caffe::SolverParameter solver = SmallSolver(
        kSgd, SmallNet(folder_ / "lmdb", 8, layers, smooth), clocks);
    solver.set_snapshot_prefix(folder_ / "out");
    return solver;
  }
  // The weights after `clocks` clocks of one worker.
  absl::StatusOr<Floats> Train(const caffe::SolverParameter& param,
                               std::unique_ptr<Device> device) {
    absl::StatusOr<std::unique_ptr<ReferenceTrainer>> trainer =
        ReferenceTrainer::Create(param, 1, std::move(device));
    if (!trainer.ok()) return trainer.status();
    const absl::Status ran = (*trainer)->Run(param.max_iter());
    if (!ran.ok()) return ran;
    blobs_.assign((*trainer)->net().params().begin(),
                  (*trainer)->net().params().end());
    return Copied((*trainer)->net().weights());
  }
  void ExpectTheCpusWeights(const std::string& layers);
  void ExpectTheServicesBits(const std::string& layers, int servers);

  TempFolder folder_;
  std::vector<NetParam> blobs_;  // of the net that was trained last
};

void CudaTrain::ExpectTheCpusWeights(const std::string& layers) {
  const caffe::SolverParameter param = Param(layers, 20, /*smooth=*/true);
  const auto cpu = Train(param, nullptr);
  ASSERT_TRUE(cpu.ok()) << cpu.status();
  const auto gpu = Train(param, *Gpu());
  ASSERT_TRUE(gpu.ok()) << gpu.status();
  const auto start = Train(Param(layers, 0, true), nullptr);
  ASSERT_GT(Distance(blobs_, *cpu, *start), 0.1) << "nothing was trained";
  EXPECT_LT(Distance(blobs_, *cpu, *gpu), 1e-3);
}

TEST_F(CudaTrain, AgreesWithTheCpu) { ExpectTheCpusWeights(""); }
TEST_F(CudaTrain, AgreesWithTheCpuWithBatchNorm) {
  ExpectTheCpusWeights(kBatchNorm);
}

TEST_F(CudaTrain, RepeatsBitForBit) {
  const caffe::SolverParameter param = Param("", 30, /*smooth=*/false);
  const auto once = Train(param, *Gpu());
  ASSERT_TRUE(once.ok()) << once.status();
  const auto again = Train(param, *Gpu());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(Different(*once, *again), 0);
}

// The solver's own loop, its gradients by the courier, against the hand-driven
// trainer, which fetches them.
TEST_F(CudaTrain, TheSolverGivesTheTrainersBits) {
  const caffe::SolverParameter param = Param("", 30, /*smooth=*/false);
  const auto expected = Train(param, *Gpu());
  ASSERT_TRUE(expected.ok()) << expected.status();
  LayerRegistry layers;
  ASSERT_TRUE(RegisterCudaLayers(layers).ok());
  const auto gpu = Gpu();
  SolverOptions options;
  options.seed = static_cast<uint64_t>(param.random_seed());
  auto solver = Solver::Create(param, layers, **gpu, options);
  ASSERT_TRUE(solver.ok()) << solver.status();
  ASSERT_TRUE((*solver)->Step(30).ok());
  EXPECT_EQ(Different(*expected, (*solver)->net().weights()), 0);
}

void CudaTrain::ExpectTheServicesBits(const std::string& layers, int servers) {
  const caffe::SolverParameter param = Param(layers, 40, /*smooth=*/false);
  auto reference = ReferenceTrainer::Create(param, 2, *Gpu());
  ASSERT_TRUE(reference.ok()) << reference.status();
  ASSERT_TRUE((*reference)->Run(40).ok());
  const Floats expected = Copied((*reference)->net().weights());
  auto cluster = Cluster::Start(folder_, servers);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  (*cluster)->set_worker_flags({"--gpu=0", "--deterministic"});
  control::JobSpec spec;
  *spec.mutable_solver() = param;
  spec.set_workers(2);
  spec.set_chunk_bytes(16384);
  const auto status = (*cluster)->Run(spec, absl::Minutes(3));
  ASSERT_TRUE(status.ok()) << status.status();
  ASSERT_EQ(status->state(), control::JOB_SUCCEEDED) << status->message();
  Net& net = (*reference)->net();
  Floats history(expected.size());
  const auto iter = RestoreSnapshot(folder_ / "out_iter_40.solverstate", net,
                                    {absl::MakeSpan(history)});
  ASSERT_TRUE(iter.ok()) << iter.status();
  EXPECT_EQ(Different(expected, net.weights()), 0);
}

TEST_F(CudaTrain, OneServerGivesOneProcessesBits) {
  ExpectTheServicesBits("", 1);
}
TEST_F(CudaTrain, TwoServersGiveOneProcessesBits) {
  ExpectTheServicesBits("", 2);
}
TEST_F(CudaTrain, TwoServersGiveOneProcessesBitsWithBatchNorm) {
  ExpectTheServicesBits(kBatchNorm, 2);
}

}  // namespace
}  // namespace cssp
