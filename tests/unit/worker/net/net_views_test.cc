// What others see of a net: observers, views that outlive a plan, weights
// shared after the fact.
#include <algorithm>

#include "test_layers.h"

namespace cssp {
namespace {

using namespace testing;  // NOLINT: the fixtures of this folder

std::string Text(int outputs) {
  return R"(
    layer { name: "in" type: "Input" top: "x"
            input_param { shape { dim: 3 dim: 4 } } }
    layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
            inner_product_param {
              weight_filler { type: "uniform" min: -1 max: 1 }
              num_output: )" +
         std::to_string(outputs) + R"( } }
    layer { name: "loss" type: "EuclideanLoss" bottom: "y" top: "l" })";
}

class Recorder final : public LayerObserver {
 public:
  absl::Status BeforeLayer(int layer, bool backward) override {
    seen.push_back({layer, backward});
    return layer == fail_at ? absl::AbortedError("no further")
                            : absl::OkStatus();
  }
  absl::Status AfterLayer(int layer, bool backward) override {
    after.push_back(layer);
    return absl::OkStatus();
  }
  std::vector<std::pair<int, bool>> seen;
  std::vector<int> after;
  int fail_at = -1;
};

class NetViews : public ::testing::Test {
 protected:
  std::unique_ptr<Net> Make(int outputs, uint64_t seed, bool one = false) {
    NetOptions options = TrainOptions();
    options.seed = seed;
    options.keep_blobs = true;
    options.one_gradient_generation = one;
    return MakeNet(Text(outputs), *device_, options);
  }
  std::unique_ptr<Device> device_ = MakeCpuDevice(1);
};

TEST_F(NetViews, ObserverHearsOfEveryLayerAndMayEndThePass) {
  auto net = Make(2, 1);
  ASSERT_TRUE(net);
  FillRamp(net->blob("x")->mutable_data(), 1);
  double plain = 0, observed = 0;
  ASSERT_TRUE(net->Forward(StepState(), &plain).ok());
  Recorder recorder;
  net->Observe(&recorder);
  ASSERT_TRUE(net->ForwardBackward(StepState(), true, &observed).ok());
  EXPECT_EQ(observed, plain);
  EXPECT_THAT(recorder.seen,
              ::testing::ElementsAre(std::pair(0, false), std::pair(1, false),
                                     std::pair(2, false), std::pair(2, true),
                                     std::pair(1, true), std::pair(0, true)));
  EXPECT_THAT(recorder.after, ::testing::ElementsAre(0, 1, 2, 2, 1, 0));
  recorder.fail_at = 1;
  EXPECT_EQ(net->Forward(StepState(), nullptr).code(),
            absl::StatusCode::kAborted);
  net->Observe(nullptr);
  EXPECT_TRUE(net->Forward(StepState(), nullptr).ok());
}

TEST_F(NetViews, HeldMemoryOutlivesThePlanAndTheNet) {
  auto net = Make(2, 1);
  ASSERT_TRUE(net);
  const auto data = net->blob("x")->mutable_data();
  const auto weights = net->param_data(0);
  const auto gradient = net->param_diff(0);
  const std::shared_ptr<const void> memory = net->memory();
  std::fill(data.begin(), data.end(), 5.f);
  ASSERT_TRUE(net->blob("x")->Reshape(Shape{100, 4}).ok());
  ASSERT_TRUE(net->Reshape().ok());
  EXPECT_NE(net->blob("x")->data().data(), data.data());
  net.reset();
  // Under the address sanitizer a read of freed memory ends the test.
  EXPECT_EQ(std::count(data.begin(), data.end(), 5.f), 12);
  for (const auto& span : {weights, gradient})
    std::fill(span.begin(), span.end(), 1.f);
}

TEST_F(NetViews, OneGenerationIsBoth) {
  auto net = Make(2, 1, true);
  ASSERT_TRUE(net);
  EXPECT_EQ(net->gradients(0).data(), net->gradients(1).data());
  auto two = Make(2, 1);
  EXPECT_NE(two->gradients(0).data(), two->gradients(1).data());
}

TEST_F(NetViews, SharedWeightsAreOneMemory) {
  auto net = Make(2, 1), other = Make(2, 2);
  ASSERT_TRUE(net && other);
  for (Net* each : {net.get(), other.get()})
    FillRamp(each->blob("x")->mutable_data(), 1);
  ASSERT_TRUE(other->ShareWeights(*net).ok());
  EXPECT_EQ(other->param_data(0).data(), net->param_data(0).data());
  ASSERT_TRUE(net->Forward(StepState(), nullptr).ok());
  ASSERT_TRUE(other->Forward(StepState(), nullptr).ok());
  EXPECT_THAT(other->blob("y")->data(),
              ::testing::ElementsAreArray(net->blob("y")->data()));
  net.reset();  // the slab stays
  net = nullptr;
  EXPECT_TRUE(other->ForwardBackward(StepState(), true, nullptr).ok());
}

TEST_F(NetViews, WeightsOfAnotherShapeAreNotShared) {
  auto net = Make(2, 1), other = Make(3, 2);
  ASSERT_TRUE(net && other);
  const float* before = other->param_data(0).data();
  const absl::Status shared = other->ShareWeights(*net);
  EXPECT_EQ(shared.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(shared.message()), ::testing::HasSubstr("ip"));
  EXPECT_EQ(other->param_data(0).data(), before);
  EXPECT_TRUE(other->ForwardBackward(StepState(), true, nullptr).ok());
}

}  // namespace
}  // namespace cssp
