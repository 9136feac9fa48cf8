#include "common/optim/plateau.h"

#include <cmath>
#include <vector>

#include "common/base/logging.h"
#include "common/optim/learning_rate_policy.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace cssp {
namespace {

caffe::SolverParameter Solver(const std::string& fields) {
  caffe::SolverParameter solver;
  CHECK(google::protobuf::TextFormat::ParseFromString(
      "base_lr: 1 lr_policy: 'plateau' gamma: 0.5 " + fields, &solver));
  return solver;
}

std::vector<int> Steps(PlateauTracker& tracker, std::vector<float> losses,
                       int64_t clock = 0) {
  std::vector<int> steps;
  for (float loss : losses) {
    tracker.Observe(clock++, loss);
    steps.push_back(tracker.state().step);
  }
  return steps;
}

TEST(PlateauTest, StepsAfterClocksWithoutImprovement) {
  auto tracker = *PlateauTracker::Create(Solver("plateau_winsize: 3"));
  // Best at clock 1; clock 4 is the third without a better one.  Then the
  // search starts at 9, so 8 is an improvement again.
  EXPECT_EQ(Steps(tracker, {7, 5, 6, 5, 9, 8, 8, 8, 8, 8}),
            (std::vector<int>{0, 0, 0, 0, 1, 1, 1, 1, 2, 2}));
}

TEST(PlateauTest, EachStepHasItsWindowAndTheLastRepeats) {
  auto tracker =
      *PlateauTracker::Create(Solver("plateau_winsize: 1 plateau_winsize: 2"));
  EXPECT_EQ(Steps(tracker, {1, 1, 1, 1, 1, 1}),
            (std::vector<int>{0, 1, 1, 2, 2, 3}));
}

TEST(PlateauTest, SmoothsOverAverageLoss) {
  auto tracker =
      *PlateauTracker::Create(Solver("plateau_winsize: 2 average_loss: 4"));
  Steps(tracker, {4, 8, 6});  // their mean, while fewer than four
  EXPECT_FLOAT_EQ(tracker.state().smoothed_loss, 6);
  Steps(tracker, {2}, 3);
  EXPECT_FLOAT_EQ(tracker.state().smoothed_loss, 5);
  Steps(tracker, {9}, 4);
  EXPECT_FLOAT_EQ(tracker.state().smoothed_loss, 6);
}

TEST(PlateauTest, ARestoredTrackerGoesOn) {
  const auto solver = Solver("plateau_winsize: 5 average_loss: 3");
  std::vector<float> losses;
  for (int i = 0; i < 60; ++i)
    losses.push_back(i < 20 ? 2 - 0.1f * i + 0.2f * std::sin(2.0f * i)
                            : 0.01f * i);
  auto straight = *PlateauTracker::Create(solver);
  const std::vector<int> expected = Steps(straight, losses);
  EXPECT_GT(expected.back(), 1);
  for (int cut : {1, 7, 20, 33}) {
    auto first = *PlateauTracker::Create(solver);
    Steps(first, {losses.begin(), losses.begin() + cut});
    auto second = *PlateauTracker::Create(solver);
    second.Restore(first.state());
    EXPECT_EQ(Steps(second, {losses.begin() + cut, losses.end()}, cut),
              std::vector<int>(expected.begin() + cut, expected.end()));
  }
}

TEST(PlateauTest, ALossThatIsNoNumberImprovesNothing) {
  auto tracker = *PlateauTracker::Create(Solver("plateau_winsize: 2"));
  EXPECT_EQ(Steps(tracker, {1, NAN, -INFINITY}), (std::vector<int>{0, 0, 1}));
  EXPECT_EQ(tracker.state().smoothed_loss, 1);
}

TEST(PlateauTest, TheRateFollowsTheStep) {
  const auto policy =
      *LearningRatePolicy::Create(Solver("plateau_winsize: 2 min_lr: 0.2"));
  EXPECT_TRUE(policy.follows_loss());
  EXPECT_EQ(policy.Rate(100, 0), 1);
  EXPECT_EQ(policy.Rate(100, 2), 0.25f);
  EXPECT_EQ(policy.Rate(100, 3), 0.2f);
}

TEST(PlateauTest, RefusesBadWindows) {
  EXPECT_EQ(LearningRatePolicy::Create(Solver("")).status().message(),
            "solver: lr_policy 'plateau' needs plateau_winsize");
  EXPECT_EQ(
      LearningRatePolicy::Create(Solver("plateau_winsize: 0")).status().code(),
      absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace cssp
