// At s = 0 a parameter service gives, bit for bit, what one process gives that
// runs the workers' sub-batches in rank order: real ps-servers, real workers.
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/train/cluster.h"
#include "tests/integration/train/reference_trainer.h"
#include "tests/integration/train/small_data.h"
#include "worker/solver/snapshot.h"

namespace cssp {
namespace {

struct Case {
  std::string name;
  std::string solver;      // fields besides net, max_iter, seed
  int workers = 2;
  int servers = 1;
  int chunk_bytes = 0;
  std::string layers;      // between conv1 and pool1
  int64_t clocks = 100;
  control::GradientWire wire = control::FP32;
};

std::string Name(const testing::TestParamInfo<Case>& info) {
  return info.param.name;
}

// How many floats differ in any bit.
int64_t Different(absl::Span<const float> a, absl::Span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  int64_t different = 0;
  for (size_t i = 0; i < a.size(); ++i)
    different += std::memcmp(&a[i], &b[i], sizeof(float)) != 0;
  return different;
}

class ExactnessTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    ASSERT_TRUE(MakeSmallBase(folder_ / "lmdb").ok());
  }
  caffe::SolverParameter Solver() {
    const Case& c = GetParam();
    caffe::SolverParameter solver = SmallSolver(
        c.solver, SmallNet(folder_ / "lmdb", 4, c.layers), c.clocks);
    solver.set_snapshot_prefix(folder_ / "out");
    return solver;
  }
  TempFolder folder_;
};

TEST_P(ExactnessTest, EqualsTheReferenceBitForBit) {
  const Case& c = GetParam();
  const caffe::SolverParameter solver = Solver();
  auto reference = ReferenceTrainer::Create(solver, c.workers);
  ASSERT_TRUE(reference.ok()) << reference.status();
  if (c.wire == control::BF16) (*reference)->RoundGradients();
  const std::vector<float> initial((*reference)->net().weights().begin(),
                                   (*reference)->net().weights().end());
  ASSERT_TRUE((*reference)->Run(c.clocks).ok());
  const std::vector<float> expected((*reference)->net().weights().begin(),
                                    (*reference)->net().weights().end());
  double moved = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_TRUE(std::isfinite(expected[i]));
    moved += std::abs(expected[i] - initial[i]);
  }
  ASSERT_GT(moved, 1e-3) << "nothing was trained";

  auto cluster = Cluster::Start(folder_, c.servers);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  control::JobSpec spec;
  *spec.mutable_solver() = solver;
  spec.set_workers(c.workers);
  spec.set_chunk_bytes(c.chunk_bytes);
  spec.set_wire(c.wire);
  auto status = (*cluster)->Run(spec, absl::Minutes(3));
  ASSERT_TRUE(status.ok()) << status.status();
  ASSERT_EQ(status->state(), control::JOB_SUCCEEDED) << status->message();

  const std::string stem = absl::StrCat(folder_ / "out", "_iter_", c.clocks);
  Net& net = (*reference)->net();
  LocalSync& sync = (*reference)->sync();
  std::vector<std::vector<float>> history(sync.num_history());
  std::vector<absl::Span<float>> slots;
  for (std::vector<float>& slot : history) {
    slot.resize(expected.size());
    slots.push_back(absl::MakeSpan(slot));
  }
  PlateauState plateau;
  auto iter = RestoreSnapshot(stem + ".solverstate", net, slots, &plateau);
  ASSERT_TRUE(iter.ok()) << iter.status();
  EXPECT_EQ(*iter, c.clocks);
  EXPECT_EQ(plateau.step, sync.plateau().step);
  EXPECT_EQ(plateau.smoothed_loss, sync.plateau().smoothed_loss);
  EXPECT_EQ(solver.lr_policy() == "plateau", plateau.step > 0);
  for (size_t slot = 0; slot < history.size(); ++slot)
    EXPECT_EQ(Different(history[slot], sync.history(static_cast<int>(slot))), 0)
        << "history " << slot;
  EXPECT_EQ(Different(net.weights(), expected), 0)
      << "of " << expected.size();
}

const char kSgd[] =
    "base_lr: 0.01 momentum: 0.9 weight_decay: 0.004 lr_policy: 'inv' "
    "gamma: 0.01 power: 0.75";
const char kCosine[] =
    "base_lr: 0.01 momentum: 0.9 weight_decay: 0.004 lr_policy: 'cosine' "
    "min_lr: 0.001 rampup_interval: 10 rampup_lr: 0.0001";

// Steps several times in 100 clocks.
const char kPlateau[] =
    "base_lr: 0.01 momentum: 0.9 weight_decay: 0.004 lr_policy: 'plateau' "
    "gamma: 0.7 plateau_winsize: 5 plateau_winsize: 9 average_loss: 4";

INSTANTIATE_TEST_SUITE_P(
    AllSolvers, ExactnessTest,
    testing::Values(
        Case{"Sgd2Workers1Server", kSgd, 2, 1},
        Case{"Sgd1Worker1Server", kSgd, 1, 1},
        Case{"Sgd3Workers2ServersSmallChunks", kSgd, 3, 2, 16384},
        Case{"Sgd2Workers3ServersSmallChunks", kSgd, 2, 3, 16384},
        Case{"Nesterov",
             "type: 'Nesterov' base_lr: 0.01 momentum: 0.9 "
             "weight_decay: 0.001 lr_policy: 'step' gamma: 0.5 stepsize: 30",
             2, 2, 16384},
        Case{"AdaGrad",
             "type: 'AdaGrad' base_lr: 0.01 weight_decay: 0.001 "
             "lr_policy: 'fixed'",
             2, 2, 16384},
        Case{"RmsProp",
             "type: 'RMSProp' base_lr: 0.001 rms_decay: 0.95 "
             "weight_decay: 0.001 regularization_type: 'L1' "
             "lr_policy: 'exp' gamma: 0.99",
             2, 2, 16384},
        Case{"AdaDelta",
             "type: 'AdaDelta' base_lr: 1 momentum: 0.95 delta: 1e-6 "
             "weight_decay: 0.0005 lr_policy: 'fixed'",
             2, 2, 16384},
        Case{"Adam",
             "type: 'Adam' base_lr: 0.001 momentum: 0.9 momentum2: 0.999 "
             "weight_decay: 0.0005 lr_policy: 'multistep' gamma: 0.5 "
             "stepvalue: 20 stepvalue: 60",
             2, 2, 16384}),
    Name);

INSTANTIATE_TEST_SUITE_P(
    Options, ExactnessTest,
    testing::Values(
        Case{"Clip1Server", absl::StrCat(kSgd, " clip_gradients: 0.5"), 2, 1},
        Case{"Clip3ServersSmallChunks",
             absl::StrCat(kSgd, " clip_gradients: 0.5"), 2, 3, 16384},
        Case{"Lars1Server", absl::StrCat(kSgd, " lars_eta: 0.02"), 2, 1},
        Case{"LarsClip3ServersSmallChunks",
             absl::StrCat(kSgd, " lars_eta: 0.02 clip_gradients: 0.5"), 2, 3,
             16384},
        Case{"Cosine", kCosine, 2, 2, 16384},
        Case{"Plateau3ServersSmallChunks", kPlateau, 2, 3, 16384},
        Case{"Bfloat16", kSgd, 2, 1, 0, "", 100, control::BF16},
        Case{"Bfloat16Clip3ServersSmallChunks",
             absl::StrCat(kSgd, " clip_gradients: 0.5"), 2, 3, 16384, "", 100,
             control::BF16},
        Case{"IterSize", absl::StrCat(kSgd, " iter_size: 3"), 2, 2, 16384},
        Case{"ClipAndIterSizeAdam",
             "type: 'Adam' base_lr: 0.001 momentum: 0.9 lr_policy: 'fixed' "
             "iter_size: 2 clip_gradients: 1 weight_decay: 0.001",
             3, 2, 16384},
        Case{"Dropout", kSgd, 2, 1, 0,
             "layer { name: 'drop' type: 'Dropout' bottom: 'conv1' "
             "top: 'conv1' dropout_param { dropout_ratio: 0.4 } }"},
        Case{"BatchNorm", kSgd, 2, 2, 16384,
             "layer { name: 'bn' type: 'BatchNorm' bottom: 'conv1' "
             "top: 'conv1' } layer { name: 'scale' type: 'Scale' "
             "bottom: 'conv1' top: 'conv1' scale_param { bias_term: true } }"}),
    Name);

}  // namespace
}  // namespace cssp
