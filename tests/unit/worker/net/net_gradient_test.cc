// Gradients of whole nets against central differences.
#include <cmath>
#include <cstring>

#include "test_layers.h"
#include "worker/net/execution_plan.h"

namespace cssp {
namespace {

using namespace testing;  // NOLINT: the fixtures of this folder

constexpr char kInput[] = R"(
  layer { name: "in" type: "Input" top: "x"
          input_param { shape { dim: 3 dim: 4 } } })";

std::string Ip(const std::string& name, const std::string& bottom,
               const std::string& top, int outputs,
               const std::string& more = "") {
  return "layer { name: \"" + name + "\" type: \"InnerProduct\" bottom: \"" +
         bottom + "\" top: \"" + top +
         "\" inner_product_param { num_output: " + std::to_string(outputs) +
         " weight_filler { type: \"uniform\" min: -0.7 max: 0.7 }"
         " bias_filler { type: \"uniform\" min: -0.3 max: 0.3 } } " +
         more + " }";
}

std::string Loss(const std::string& bottoms) {
  return "layer { name: \"loss\" type: \"EuclideanLoss\" " + bottoms +
         " top: \"l\" }";
}

class NetGradient : public ::testing::TestWithParam<bool> {
 protected:
  std::unique_ptr<Net> Make(const std::string& text) {
    NetOptions options = TrainOptions();
    options.keep_blobs = GetParam();
    auto net = MakeNet(text, *device_, options);
    if (net) FillRamp(net->blob("x")->mutable_data(), 1);
    return net;
  }
  std::unique_ptr<Device> device_ = MakeCpuDevice(1);
};
INSTANTIATE_TEST_SUITE_P(KeepBlobs, NetGradient, ::testing::Bool());

TEST_P(NetGradient, Chain) {
  auto net = Make(std::string(kInput) + Ip("a", "x", "a", 5) +
                  R"(layer { name: "r" type: "ReLU" bottom: "a" top: "a" })" +
                  Ip("b", "a", "b", 2) + Loss(R"(bottom: "b")"));
  ASSERT_TRUE(net);
  ExpectNumericGradient(*net, 1e-3f);
}

TEST_P(NetGradient, SplitSumsItsReaders) {
  auto net = Make(std::string(kInput) + Ip("a", "x", "a", 3) +
                  Ip("b", "a", "b", 2) + Ip("c", "a", "c", 2) +
                  Loss(R"(bottom: "b" bottom: "c" bottom: "a")"));
  ASSERT_TRUE(net);
  ExpectNumericGradient(*net);
}

// ReLU's backward reads its top; the in-place layer behind it overwrites that.
TEST_P(NetGradient, InPlaceOverAnothersTopIsSafe) {
  auto net = Make(
      std::string(kInput) + Ip("a", "x", "a", 3) +
      R"(layer { name: "r" type: "ReLU" bottom: "a" top: "a" }
         layer { name: "r2" type: "ReLU" bottom: "a" top: "a" })" +
      Ip("b", "a", "b", 2) + Loss(R"(bottom: "b")"));
  ASSERT_TRUE(net);
  ExpectNumericGradient(*net, 1e-3f);
  const ExecutionPlan& plan = net->plan();
  EXPECT_EQ(plan.tensors[plan.steps[2].bottom[0]].storage,
            plan.tensors[plan.steps[2].top[0]].storage);
  EXPECT_NE(plan.tensors[plan.steps[3].bottom[0]].storage,
            plan.tensors[plan.steps[3].top[0]].storage);
}

TEST_P(NetGradient, SharedParametersAdd) {
  const std::string share = R"(param { name: "w" } param { name: "b" })";
  auto net = Make(std::string(kInput) + Ip("a", "x", "a", 4, share) +
                  Ip("b", "a", "b", 4, share) + Loss(R"(bottom: "b")"));
  ASSERT_TRUE(net);
  ASSERT_EQ(net->params().size(), 2);
  ExpectNumericGradient(*net);
}

TEST_P(NetGradient, BlockedStepsAndReordersAreTransparent) {
  auto net = Make(
      std::string(kInput) + Ip("a", "x", "a", 20) +
      R"(layer { name: "v" type: "Reshape" bottom: "a" top: "v"
                 reshape_param { shape { dim: 3 dim: 5 dim: 2 dim: 2 } } }
         layer { name: "d" type: "BlockedDouble" bottom: "v" top: "d" }
         layer { name: "r" type: "ReLU" bottom: "d" top: "d" }
         layer { name: "e" type: "BlockedDouble" bottom: "d" top: "e" })" +
      Ip("c", "e", "c", 3) + Loss(R"(bottom: "c")"));
  ASSERT_TRUE(net);
  ExpectNumericGradient(*net, 1e-3f, 5e-2f);
}

TEST_P(NetGradient, LossWeightsScale) {
  const std::string net_text =
      std::string(kInput) + Ip("a", "x", "a", 3) +
      R"(layer { name: "l1" type: "EuclideanLoss" bottom: "a" top: "l1"
                 loss_weight: 0.25 }
         layer { name: "l2" type: "EuclideanLoss" bottom: "x" top: "l2"
                 loss_weight: 3 })";
  auto net = Make(net_text);
  ASSERT_TRUE(net);
  ExpectNumericGradient(*net);
  double loss = 0;
  ASSERT_TRUE(net->Forward(StepState(), &loss).ok());
  EXPECT_NEAR(loss,
              0.25 * net->blob("l1")->data()[0] + 3 * net->blob("l2")->data()[0],
              1e-5);
  EXPECT_EQ(net->output_loss_weight("l2"), 3);
}

TEST_P(NetGradient, LaterPassesAddAndGenerationsAlternate) {
  const std::string share = R"(param { name: "w" } param { name: "b" })";
  auto net = Make(std::string(kInput) + Ip("a", "x", "a", 4, share) +
                  Ip("b", "a", "b", 4, share) + Loss(R"(bottom: "b")"));
  ASSERT_TRUE(net);
  StepState state;
  ASSERT_TRUE(net->ForwardBackward(state, true, nullptr).ok());
  const std::vector<float> once(net->gradients(0).begin(),
                                net->gradients(0).end());
  state.clock = 1;  // the other generation, written over twice
  for (int pass : {0, 1, 0, 1, 2}) {
    state.pass = pass;
    ASSERT_TRUE(net->ForwardBackward(state, pass == 2, nullptr).ok());
  }
  EXPECT_EQ(net->last_generation(), 1);
  for (size_t i = 0; i < once.size(); ++i) {
    EXPECT_NEAR(net->gradients(1)[i], 3 * once[i],
                1e-5 * (1 + std::abs(once[i])));
    EXPECT_EQ(net->gradients(0)[i], once[i]);
  }
}

// Memory reuse changes nothing: bit for bit the same as with keep_blobs.
TEST(NetMemory, ReuseDoesNotChangeNumbers) {
  auto device = MakeCpuDevice(1);
  std::string text(kInput);
  std::string last = "x";
  for (int i = 0; i < 6; ++i) {
    const std::string name = "ip" + std::to_string(i);
    text += Ip(name, last, name, 4 + i);
    text += "layer { name: \"s" + name + "\" type: \"ReLU\" bottom: \"" + name +
            "\" top: \"" + name + "\" }";
    last = name;
  }
  text += Loss("bottom: \"" + last + "\"");
  std::vector<float> gradients[2];
  size_t bytes[2];
  for (int keep : {0, 1}) {
    NetOptions options = TrainOptions();
    options.keep_blobs = keep;
    auto net = MakeNet(text, *device, options);
    ASSERT_TRUE(net);
    FillRamp(net->blob("x")->mutable_data(), 1);
    ASSERT_TRUE(net->ForwardBackward(StepState(), true, nullptr).ok());
    gradients[keep].assign(net->gradients(0).begin(), net->gradients(0).end());
    bytes[keep] = net->plan().gradient_bytes;
  }
  EXPECT_EQ(gradients[0], gradients[1]);
  EXPECT_LT(bytes[0], bytes[1] / 2);
}

}  // namespace
}  // namespace cssp
