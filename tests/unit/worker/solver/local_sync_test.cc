#include "worker/solver/local_sync.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/worker/solver/solver_fixture.h"

namespace cssp {
namespace {

class LocalSyncTest : public SolverFixture {
 protected:
  // A gradient of some shape: no two elements alike.
  std::vector<float> Gradient(const Net& net, float scale) {
    std::vector<float> gradient(const_cast<Net&>(net).weights().size(), 0);
    for (const NetParam& param : net.params())
      for (int64_t i = 0; i < param.shape.count(); ++i)
        gradient[param.offset + i] =
            scale * std::sin(static_cast<float>(param.offset + i + 1));
    return gradient;
  }
};

TEST_F(LocalSyncTest, SgdByTheBook) {
  auto solver = *Make(Param(
      "base_lr: 0.1 momentum: 0.9 weight_decay: 0.01 lr_policy: 'step' "
      "gamma: 0.5 stepsize: 2 max_iter: 9 iter_size: 2"));
  Net& net = solver->net();
  std::vector<float> w(net.weights().begin(), net.weights().end());
  std::vector<float> h(w.size(), 0);
  for (int64_t clock = 0; clock < 5; ++clock) {
    const std::vector<float> g = Gradient(net, 1.0f + clock);
    ASSERT_TRUE(solver->local()->Update(clock, g).ok());
    const float rate = 0.1f * std::pow(0.5f, static_cast<float>(clock / 2));
    for (const NetParam& param : net.params()) {
      for (int64_t k = 0; k < param.shape.count(); ++k) {
        const int64_t i = param.offset + k;
        const float d = g[i] / 2 + 0.01f * param.decay_mult * w[i];
        h[i] = 0.9f * h[i] + rate * param.lr_mult * d;
        w[i] -= h[i];
      }
    }
  }
  for (size_t i = 0; i < w.size(); ++i) {
    EXPECT_NEAR(net.weights()[i], w[i], 1e-6f) << i;
    EXPECT_NEAR(solver->local()->history(0)[i], h[i], 1e-6f) << i;
  }
  EXPECT_EQ(solver->local()->next_clock(), 5);
}

TEST_F(LocalSyncTest, ClipsTheGlobalNormBeforeIterSize) {
  auto solver = *Make(
      Param("base_lr: 1 lr_policy: 'fixed' max_iter: 1 iter_size: 4 "
            "clip_gradients: 0.5"));
  Net& net = solver->net();
  const std::vector<float> before(net.weights().begin(), net.weights().end());
  const std::vector<float> g = Gradient(net, 3);
  double squares = 0;
  for (float x : g) squares += double{x} * x;
  ASSERT_GT(std::sqrt(squares), 0.5);
  ASSERT_TRUE(solver->local()->Update(0, g).ok());
  for (const NetParam& param : net.params())
    for (int64_t k = 0; k < param.shape.count(); ++k) {
      const int64_t i = param.offset + k;
      EXPECT_NEAR(before[i] - net.weights()[i],
                  g[i] * 0.5 / std::sqrt(squares) / 4 * param.lr_mult, 1e-6);
    }
}

TEST_F(LocalSyncTest, ReportsChangesToEachReaderOnce) {
  auto solver =
      *Make(Param("base_lr: 0.1 lr_policy: 'fixed' max_iter: 3"));
  LocalSync& sync = *solver->local();
  bool changed = false;
  ASSERT_TRUE(sync.AwaitWeights(0, 2, 0, &changed).ok());
  EXPECT_TRUE(changed);
  ASSERT_TRUE(sync.AwaitWeights(0, 2, 0, &changed).ok());
  EXPECT_FALSE(changed);
  ASSERT_TRUE(sync.Update(0, Gradient(solver->net(), 1)).ok());
  ASSERT_TRUE(sync.AwaitWeights(1, 1, 1, &changed).ok());
  EXPECT_TRUE(changed);
  ASSERT_TRUE(sync.AwaitWeights(0, 1, 1, &changed).ok());
  EXPECT_TRUE(changed);
}

}  // namespace
}  // namespace cssp
