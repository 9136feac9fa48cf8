#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/layer_runner.h"

namespace cssp::testing {
namespace {

const Values kScores = {
    0.1f, 0.7f, 0.2f,  // best 1, second 2
    0.5f, 0.2f, 0.3f,  // best 0, second 2
    0.3f, 0.3f, 0.4f,  // best 2, then a tie
    0.9f, 0.0f, 0.1f,  // best 0, second 2
};

Values Accuracy(const std::string& fields, const Values& labels,
           Values* per_class = nullptr) {
  auto run = LayerRunner::Create(
      "type: 'Accuracy' top: 'a' " +
          std::string(per_class != nullptr ? "top: 'b' " : "") +
          "accuracy_param { " + fields + " }",
      caffe::TEST, {{4, 3}, {4}});
  EXPECT_TRUE(run.ok()) << run.status();
  (*run)->bottom = {kScores, labels};
  EXPECT_TRUE((*run)->Forward().ok());
  if (per_class != nullptr) *per_class = (*run)->top[1];
  return (*run)->top[0];
}

TEST(AccuracyLayer, CountsTheBest) {
  EXPECT_EQ(Accuracy("", {1, 0, 2, 1}), Values({0.75}));
  EXPECT_EQ(Accuracy("", {0, 1, 0, 2}), Values({0}));
}

TEST(AccuracyLayer, TopK) {
  EXPECT_EQ(Accuracy("top_k: 2", {2, 2, 2, 1}), Values({0.75}));
  // A tie counts against the label.
  EXPECT_EQ(Accuracy("top_k: 2", {2, 2, 0, 2}), Values({0.75}));
  EXPECT_EQ(Accuracy("top_k: 3", {0, 1, 0, 1}), Values({1}));
}

TEST(AccuracyLayer, IgnoredLabelsDoNotCount) {
  EXPECT_EQ(Accuracy("ignore_label: 1", {1, 0, 2, 1}), Values({1}));
  EXPECT_EQ(Accuracy("ignore_label: 1", {1, 1, 1, 1}), Values({0}));
}

TEST(AccuracyLayer, PerClass) {
  Values per_class;
  EXPECT_EQ(Accuracy("", {1, 0, 0, 1}, &per_class), Values({0.5}));
  EXPECT_EQ(per_class, Values({0.5, 0.5, 0}));
}

TEST(AccuracyLayer, Axis) {
  auto run = LayerRunner::Create(
      "type: 'Accuracy' accuracy_param { axis: 0 }", caffe::TEST,
      {{2, 3}, {3}});
  ASSERT_TRUE(run.ok()) << run.status();
  (*run)->bottom = {{1, 5, 1, 2, 4, 0}, {1, 0, 1}};
  ASSERT_TRUE((*run)->Forward().ok());
  EXPECT_FLOAT_EQ((*run)->top[0][0], 2.0f / 3);
}

TEST(AccuracyLayer, RefusesWhatIsWrong) {
  EXPECT_FALSE(LayerRunner::Create(
                   "type: 'Accuracy' accuracy_param { top_k: 4 }", caffe::TEST,
                   {{4, 3}, {4}})
                   .ok());
  auto run = LayerRunner::Create("type: 'Accuracy'", caffe::TEST,
                                 {{1, 3}, {1}});
  ASSERT_TRUE(run.ok());
  (*run)->bottom[1] = {3};
  EXPECT_EQ((*run)->Forward().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace cssp::testing
