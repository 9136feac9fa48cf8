// Steps, formats, views and memory of plans.
#include "test_layers.h"
#include "worker/net/execution_plan.h"
#include "worker/net/plan_passes.h"

namespace cssp {
namespace {

using namespace testing;  // NOLINT: the fixtures of this folder
using ::testing::ElementsAre;

constexpr char kImages[] = R"(
  layer { name: "in" type: "Input" top: "x"
          input_param { shape { dim: 2 dim: 5 dim: 3 dim: 3 } } })";

// "in", "d", "reorder d": the layers of the plan's steps.
std::vector<std::string> Steps(const Net& net) {
  std::vector<std::string> names;
  for (const PlanStep& step : net.plan().steps)
    names.push_back((step.reorder ? "reorder " : "") +
                    net.layer(step.layer).name());
  return names;
}

class NetPlan : public ::testing::Test {
 protected:
  std::unique_ptr<Net> Make(const std::string& text, bool keep_blobs) {
    NetOptions options = TrainOptions();
    options.keep_blobs = keep_blobs;
    return MakeNet(text, *device_, options);
  }
  std::unique_ptr<Device> device_ = MakeCpuDevice(1);
};

const std::string kBlockedChain = std::string(kImages) + R"(
  layer { name: "d" type: "BlockedDouble" bottom: "x" top: "d" }
  layer { name: "r" type: "ReLU" bottom: "d" top: "d" }
  layer { name: "e" type: "BlockedDouble" bottom: "d" top: "e" }
  layer { name: "s" type: "Power" bottom: "e" top: "s" }
  layer { name: "t" type: "Power" bottom: "s" top: "t" })";

TEST_F(NetPlan, ReordersOnlyWhereNeighboursDisagree) {
  auto net = Make(kBlockedChain, false);
  ASSERT_TRUE(net);
  EXPECT_THAT(Steps(*net), ElementsAre("in", "reorder d", "d", "r", "e",
                                       "reorder s", "s", "t"));
}

TEST_F(NetPlan, PinnedBlobsAreInCaffesLayout) {
  auto net = Make(kBlockedChain, true);
  ASSERT_TRUE(net);
  EXPECT_THAT(Steps(*net),
              ElementsAre("in", "reorder d", "d", "r", "reorder r",
                          "reorder e", "e", "reorder e", "s", "t"));
  FillRamp(net->blob("x")->mutable_data(), 1);
  ASSERT_TRUE(net->Forward(StepState(), nullptr).ok());
  for (int i : {0, 17, 89}) {
    const float d = std::max(2 * net->blob("x")->data()[i], 0.f);
    EXPECT_FLOAT_EQ(net->blob("d")->data()[i], d);
    EXPECT_FLOAT_EQ(net->blob("e")->data()[i], 2 * d);
    EXPECT_FLOAT_EQ(net->blob("t")->data()[i], 16 * d * d * d * d);
  }
}

TEST_F(NetPlan, AViewedBlobIsPinnedFromTheNextForwardOn) {
  auto net = Make(kBlockedChain, false);
  ASSERT_TRUE(net);
  FillRamp(net->blob("x")->mutable_data(), 1);
  ASSERT_TRUE(net->Forward(StepState(), nullptr).ok());
  Blob* e = net->blob("e");
  EXPECT_EQ(net->Backward(StepState()).code(),
            absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(net->Forward(StepState(), nullptr).ok());  // x is kept
  EXPECT_FLOAT_EQ(e->data()[0], 4 * net->blob("x")->data()[0]);
  EXPECT_THAT(Steps(*net), ::testing::Contains("reorder e"));
}

TEST_F(NetPlan, OutputsAreReadableWhateverTheirLayersPrefer) {
  auto net = Make(std::string(kImages) + R"(
      layer { name: "d" type: "BlockedDouble" bottom: "x" top: "d" })",
                  false);
  ASSERT_TRUE(net);
  FillRamp(net->blob("x")->mutable_data(), 1);
  ASSERT_TRUE(net->Forward(StepState(), nullptr).ok());
  for (int i = 0; i < 90; ++i)
    ASSERT_FLOAT_EQ(net->blob("d")->data()[i], 2 * net->blob("x")->data()[i]);
  EXPECT_TRUE(net->blob("d")->diff().empty());
}

TEST_F(NetPlan, ViewsAliasCaffesLayoutOnly) {
  const std::string flatten = R"(
      layer { name: "f" type: "Flatten" bottom: "d" top: "f" }
      layer { name: "s" type: "Power" bottom: "f" top: "s" })";
  auto plain = Make(std::string(kImages) + R"(
      layer { name: "d" type: "Power" bottom: "x" top: "d" })" + flatten,
                    false);
  ASSERT_TRUE(plain);
  EXPECT_THAT(Steps(*plain), ElementsAre("in", "d", "f", "s"));
  const ExecutionPlan& plan = plain->plan();
  EXPECT_EQ(plan.tensors[plan.steps[2].bottom[0]].storage,
            plan.tensors[plan.steps[2].top[0]].storage);
  auto blocked = Make(std::string(kImages) + R"(
      layer { name: "d" type: "BlockedDouble" bottom: "x" top: "d" })" +
                          flatten,
                      false);
  ASSERT_TRUE(blocked);
  EXPECT_THAT(Steps(*blocked),
              ElementsAre("in", "reorder d", "d", "reorder f", "f", "s"));
}

TEST_F(NetPlan, NothingRunsBackwardBelowTheLastParameter) {
  auto net = Make(std::string(kImages) + R"(
      layer { name: "s" type: "Power" bottom: "x" top: "s" }
      layer { name: "a" type: "InnerProduct" bottom: "s" top: "a"
              inner_product_param { num_output: 3 } }
      layer { name: "b" type: "InnerProduct" bottom: "a" top: "b"
              param { lr_mult: 0 } param { lr_mult: 0 }
              inner_product_param { num_output: 3 } }
      layer { name: "n" type: "Accuracy" bottom: "b" top: "n" }
      layer { name: "side" type: "InnerProduct" bottom: "a" top: "side"
              inner_product_param { num_output: 3 } }
      layer { name: "l" type: "EuclideanLoss" bottom: "b" top: "l" })",
                  true);
  ASSERT_TRUE(net);
  std::vector<std::string> backward;
  for (const PlanStep& step : net->plan().steps) {
    if (step.run_backward) backward.push_back(net->layer(step.layer).name());
    if (net->layer(step.layer).name() == "a") {
      EXPECT_FALSE(step.bottom_gradient[0]);
    }
    if (net->layer(step.layer).name() == "b") {
      EXPECT_EQ(step.param[0].backward, GradientMode::kNone);
      EXPECT_TRUE(step.bottom_gradient[0]);
    }
  }
  EXPECT_THAT(backward, ElementsAre("a", "a_a_0_split", "b", "b_b_0_split",
                                    "l"));
  EXPECT_TRUE(net->blob("s")->diff().empty());
  EXPECT_FALSE(net->blob("a")->diff().empty());
}

TEST_F(NetPlan, PropagateDownFalseCutsTheGradient) {
  auto net = Make(std::string(kImages) + R"(
      layer { name: "a" type: "InnerProduct" bottom: "x" top: "a"
              inner_product_param { num_output: 3 } }
      layer { name: "b" type: "InnerProduct" bottom: "a" top: "b"
              propagate_down: false inner_product_param { num_output: 3 } }
      layer { name: "l" type: "EuclideanLoss" bottom: "b" top: "l" })",
                  true);
  ASSERT_TRUE(net);
  EXPECT_FALSE(net->plan().steps[1].run_backward);
  EXPECT_TRUE(net->plan().steps[2].run_backward);
}

// DeepDream: no loss, the user seeds the output's diff.
TEST_F(NetPlan, ForceBackwardReachesTheInput) {
  NetOptions options = TrainOptions();
  options.state.set_phase(caffe::TEST);
  auto net = MakeNet("force_backward: true " + std::string(kImages) + R"(
      layer { name: "d" type: "BlockedDouble" bottom: "x" top: "d" }
      layer { name: "s" type: "Power" bottom: "d" top: "s" })",
                     *device_, options);
  ASSERT_TRUE(net);
  FillRamp(net->blob("x")->mutable_data(), 1);
  ASSERT_TRUE(net->Forward(StepState(), nullptr).ok());
  for (float& v : net->blob("s")->mutable_diff()) v = 1;
  ASSERT_TRUE(net->Backward(StepState()).ok());
  for (int i = 0; i < 90; ++i)
    ASSERT_FLOAT_EQ(net->blob("x")->diff()[i], 8 * net->blob("x")->data()[i]);
}

TEST_F(NetPlan, ReshapedInputsReplan) {
  auto net = Make(std::string(kImages) + R"(
      layer { name: "d" type: "BlockedDouble" bottom: "x" top: "d" }
      layer { name: "a" type: "InnerProduct" bottom: "d" top: "a"
              inner_product_param { num_output: 3 } }
      layer { name: "l" type: "EuclideanLoss" bottom: "a" top: "l" })",
                  true);
  ASSERT_TRUE(net);
  Blob* x = net->blob("x");
  EXPECT_EQ(net->blob("a")->Reshape(Shape{1, 3}).code(),
            absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(x->Reshape(Shape{7, 5, 3, 3}).ok());
  EXPECT_EQ(x->mutable_data().size(), 7 * 45);
  FillRamp(x->mutable_data(), 1);
  ASSERT_TRUE(net->ForwardBackward(StepState(), true, nullptr).ok());
  EXPECT_EQ(net->blob("a")->shape(), (Shape{7, 3}));
  ASSERT_TRUE(x->Reshape(Shape{1, 5, 3, 3}).ok());
  ASSERT_TRUE(net->Reshape().ok());
  EXPECT_EQ(net->blob("a")->shape(), (Shape{1, 3}));
}

TEST_F(NetPlan, LayerRanges) {
  auto net = Make(kBlockedChain, true);
  ASSERT_TRUE(net);
  FillRamp(net->blob("x")->mutable_data(), 1);
  ASSERT_TRUE(net->Forward(StepState(), nullptr).ok());
  // Written blobs are what the layers behind them read.
  for (float& v : net->blob("e")->mutable_data()) v = 3;
  ASSERT_TRUE(net->ForwardFromTo(StepState(), 4, 5, nullptr).ok());
  EXPECT_FLOAT_EQ(net->blob("t")->data()[0], 81);
  EXPECT_EQ(net->ForwardFromTo(StepState(), 3, 6, nullptr).code(),
            absl::StatusCode::kOutOfRange);
}

TEST(Place, ReusesWhatIsNoLongerUsed) {
  const auto storage = [](size_t bytes, int first, int last, bool keep) {
    PlanStorage s;
    s.bytes = bytes;
    s.first_use = first;
    s.last_use = last;
    s.keep = keep;
    return s;
  };
  std::vector<PlanStorage> storages = {
      storage(100, 0, 2, false), storage(1000, 1, 3, false),
      storage(500, 3, 5, false), storage(64, 4, 4, true),
      storage(900, 4, 6, false), storage(0, 0, 9, false)};
  std::vector<PlanStorage> plain = storages;
  const size_t all = Place(false, plain);
  const size_t reused = Place(true, storages);
  EXPECT_LT(reused, all);
  EXPECT_GE(reused, 1000 + 500 + 64);
  for (auto* set : {&storages, &plain}) {
    for (size_t i = 0; i < set->size(); ++i) {
      const PlanStorage& a = (*set)[i];
      EXPECT_EQ(a.offset % 64, 0);
      EXPECT_LE(a.offset + a.bytes, set == &plain ? all : reused);
      for (size_t j = 0; j < i; ++j) {
        const PlanStorage& b = (*set)[j];
        const bool together = a.keep || b.keep ||
                              (a.first_use <= b.last_use &&
                               b.first_use <= a.last_use);
        const bool apart = a.offset + a.bytes <= b.offset ||
                           b.offset + b.bytes <= a.offset;
        EXPECT_TRUE(!together || apart) << i << " and " << j;
      }
    }
  }
}

}  // namespace
}  // namespace cssp
