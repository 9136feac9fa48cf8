#include "worker/solver/training_log.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/worker/solver/log_capture.h"

namespace cssp {
namespace {

using testing::ElementsAre;

TEST(LossSmootherTest, GrowsThenSlides) {
  LossSmoother smoother(3);
  EXPECT_FLOAT_EQ(smoother.Add(3, 0), 3);
  EXPECT_FLOAT_EQ(smoother.Add(1, 1), 2);
  EXPECT_FLOAT_EQ(smoother.Add(2, 2), 2);
  EXPECT_FLOAT_EQ(smoother.Add(9, 3), 4);  // 1, 2, 9
  EXPECT_FLOAT_EQ(smoother.Add(4, 4), 5);  // 2, 9, 4
  smoother.Reset();
  EXPECT_FLOAT_EQ(smoother.Add(7, 0), 7);
}

TEST(LossSmootherTest, WindowOfOneIsExact) {
  LossSmoother smoother(1);
  smoother.Add(2.30258f, 0);
  EXPECT_EQ(smoother.Add(0.1f, 1), 0.1f);
}

TEST(TrainingLogTest, CaffesLinesToTheLetter) {
  LogCapture log;
  const std::vector<OutputSample> outputs = {
      {.name = "accuracy", .value = 0.5f},
      {.name = "loss", .value = 1.25f, .loss_weight = 2}};
  LogDisplay(200, 100, 4, 100, 1.5f, outputs);
  LogRate(200, 0.001f);
  LogTestBegin(200, 1);
  LogTestScores({.outputs = outputs, .loss = 2.5}, true);
  LogFinalLoss(300, 0.75f);
  EXPECT_THAT(
      log.Caffe(),
      ElementsAre("Iteration 200 (25 iter/s, 4s/100 iters), loss = 1.5",
                  "    Train net output #0: accuracy = 0.5",
                  "    Train net output #1: loss = 1.25 (* 2 = 2.5 loss)",
                  "Iteration 200, lr = 0.001",
                  "Iteration 200, Testing net (#1)", "Test loss: 2.5",
                  "    Test net output #0: accuracy = 0.5",
                  "    Test net output #1: loss = 1.25 (* 2 = 2.5 loss)",
                  "Iteration 300, loss = 0.75"));
}

TEST(TrainingLogTest, AWaitForDataIsToldWhenItMatters) {
  LogCapture log;
  LogDataWait(100, 0, 0);
  LogDataWait(100, 0.03, 4);
  LogDataWait(200, 0.5, 4);
  EXPECT_THAT(log.Caffe(),
              ElementsAre("Iteration 200, data wait = 0.5s of 4s"));
}

}  // namespace
}  // namespace cssp
