// Whole nets of the built-in layers: blocked formats, in-place chains and
// memory reuse must not show in the numbers.
#include <algorithm>
#include <cmath>

#include "test_layers.h"
#include "worker/layers/builtin_layers.h"
#include "worker/net/execution_plan.h"

namespace cssp {
namespace {

using namespace testing;  // NOLINT: the fixtures of this folder

constexpr char kQuick[] = R"(
  name: "quick"
  layer { name: "data" type: "Input" top: "data" top: "label"
          input_param { shape { dim: 4 dim: 3 dim: 16 dim: 16 }
                        shape { dim: 4 } } }
  layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
          param { lr_mult: 1 } param { lr_mult: 2 }
          convolution_param { num_output: 32 pad: 2 kernel_size: 5
            weight_filler { type: "gaussian" std: 0.05 } } }
  layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
          pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
  layer { name: "relu1" type: "ReLU" bottom: "pool1" top: "pool1" }
  layer { name: "norm1" type: "LRN" bottom: "pool1" top: "norm1"
          lrn_param { local_size: 3 alpha: 5e-05 beta: 0.75 } }
  layer { name: "conv2" type: "Convolution" bottom: "norm1" top: "conv2"
          convolution_param { num_output: 20 pad: 2 kernel_size: 5
            weight_filler { type: "gaussian" std: 0.05 } } }
  layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
  layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2"
          pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
  layer { name: "ip1" type: "InnerProduct" bottom: "pool2" top: "ip1"
          inner_product_param { num_output: 16
            weight_filler { type: "gaussian" std: 0.1 } } }
  layer { name: "relu3" type: "ReLU" bottom: "ip1" top: "ip1" }
  layer { name: "drop" type: "Dropout" bottom: "ip1" top: "ip1" }
  layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2"
          inner_product_param { num_output: 10
            weight_filler { type: "gaussian" std: 0.1 } } }
  layer { name: "accuracy" type: "Accuracy" bottom: "ip2" bottom: "label"
          top: "accuracy" include { phase: TEST } }
  layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label"
          top: "loss" })";

class RealNet : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(RegisterCpuLayers(registry_).ok());
  }
  std::unique_ptr<Net> Make(bool keep_blobs, caffe::Phase phase) {
    NetOptions options = TrainOptions();
    options.keep_blobs = keep_blobs;
    options.state.set_phase(phase);
    auto net = Net::Create(ParseNet(kQuick), registry_, *device_, options);
    EXPECT_TRUE(net.ok()) << net.status();
    if (!net.ok()) return nullptr;
    auto data = (*net)->blob("data")->mutable_data();
    for (size_t i = 0; i < data.size(); ++i)  // four unlike images
      data[i] = static_cast<float>(std::sin(1e-3 * i * i));
    auto labels = (*net)->blob("label")->mutable_data();
    for (size_t i = 0; i < labels.size(); ++i) labels[i] = (i * 3) % 10;
    return *std::move(net);
  }
  LayerRegistry registry_;
  std::unique_ptr<Device> device_ = MakeCpuDevice(1);
};

TEST_F(RealNet, PlansAgree) {
  auto lean = Make(false, caffe::TRAIN), kept = Make(true, caffe::TRAIN);
  ASSERT_TRUE(lean && kept);
  double a = 0, b = 0;
  for (int clock = 0; clock < 2; ++clock) {
    StepState state;
    state.clock = clock;
    ASSERT_TRUE(lean->ForwardBackward(state, true, &a).ok());
    ASSERT_TRUE(kept->ForwardBackward(state, true, &b).ok());
    EXPECT_GT(a, 0);
    EXPECT_NEAR(a, b, 1e-5);
    for (size_t i = 0; i < lean->weights().size(); ++i)
      ASSERT_NEAR(lean->gradients(clock)[i], kept->gradients(clock)[i], 1e-5);
  }
  EXPECT_LT(lean->plan().data_bytes, kept->plan().data_bytes);
  EXPECT_LT(lean->plan().gradient_bytes, kept->plan().gradient_bytes);
}

TEST_F(RealNet, BlockedFormatsStayThroughTheConvolutions) {
  auto net = Make(false, caffe::TRAIN);
  ASSERT_TRUE(net);
  int reorders = 0, blocked = 0;
  for (const PlanStep& step : net->plan().steps) {
    reorders += step.reorder;
    blocked += !step.reorder && !step.top.empty() &&
               net->plan().tensors[step.top[0]].desc.format != Format::kCaffe;
  }
  EXPECT_GE(blocked, 6);  // conv1 .. pool2
  EXPECT_LE(reorders, 1);
}

TEST_F(RealNet, GradientDescentDescends) {
  auto net = Make(false, caffe::TRAIN);
  ASSERT_TRUE(net);
  double first = 0, loss = 0, last = 0;  // mean of 20: dropout is noisy
  for (int clock = 0; clock < 200; ++clock) {
    StepState state;
    state.clock = clock;
    ASSERT_TRUE(net->ForwardBackward(state, true, &loss).ok());
    if (clock < 20) first += loss / 20;
    if (clock >= 180) last += loss / 20;
    const auto gradients = net->gradients(clock % 2);
    for (size_t i = 0; i < gradients.size(); ++i)
      net->weights()[i] -= 0.05f * gradients[i];
    net->WeightsChanged();
  }
  EXPECT_LT(last, 0.5 * first);
}

// Some elements of every parameter: dropout's mask is a function of the clock,
// so the loss is one of the weights.
TEST_F(RealNet, NumericGradient) {
  auto net = Make(true, caffe::TRAIN);
  ASSERT_TRUE(net);
  StepState state;
  ASSERT_TRUE(net->ForwardBackward(state, true, nullptr).ok());
  const std::vector<float> gradient(net->gradients(0).begin(),
                                    net->gradients(0).end());
  for (const NetParam& param : net->params()) {
    for (int64_t k : {int64_t{0}, param.shape.count() / 2}) {
      float& weight = net->weights()[param.offset + k];
      const float kept = weight;
      double up = 0, down = 0;
      weight = kept + 2e-3f;
      net->WeightsChanged();
      ASSERT_TRUE(net->Forward(state, &up).ok());
      weight = kept - 2e-3f;
      net->WeightsChanged();
      ASSERT_TRUE(net->Forward(state, &down).ok());
      weight = kept;
      const double numeric = (up - down) / 4e-3;
      EXPECT_NEAR(gradient[param.offset + k], numeric,
                  2e-3 + 0.05 * std::abs(numeric))
          << param.key << "[" << k << "]";
    }
  }
}

TEST_F(RealNet, TestNetIsForwardOnlyAndSmall) {
  auto kept = Make(true, caffe::TEST), test = Make(false, caffe::TEST);
  ASSERT_TRUE(kept && test);
  EXPECT_LT(test->plan().data_bytes, kept->plan().data_bytes / 2 * 1.2);
  EXPECT_EQ(test->plan().gradient_bytes, 0);
  double loss = 0;
  ASSERT_TRUE(test->Forward(StepState(), &loss).ok());
  EXPECT_NEAR(loss, std::log(10.0), 0.5);
  const float accuracy = test->blob("accuracy")->data()[0];
  EXPECT_GE(accuracy, 0);
  EXPECT_LE(accuracy, 1);
}

}  // namespace
}  // namespace cssp
