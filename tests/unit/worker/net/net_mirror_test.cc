// A net on a device whose memory is not the host's.
#include <algorithm>

#include "test_layers.h"
#include "tests/testing/mirror_device.h"
#include "worker/net/execution_plan.h"

namespace cssp {
namespace {

using namespace testing;  // NOLINT: the fixtures of this folder
using ::testing::ElementsAre;

// Slab: c/0 c/1 | s/0 | b/1 | w a/1.
constexpr char kNet[] = R"(
  layer { name: "in" type: "Input" top: "x"
          input_param { shape { dim: 2 dim: 5 dim: 3 dim: 3 } } }
  layer { name: "a" type: "InnerProduct" bottom: "x" top: "a"
          param { name: "w" } inner_product_param { num_output: 45
            weight_filler { type: "xavier" } } }
  layer { name: "v" type: "Reshape" bottom: "a" top: "v"
          reshape_param { shape { dim: 2 dim: 5 dim: 3 dim: 3 } } }
  layer { name: "r" type: "ReLU" bottom: "v" top: "v" }
  layer { name: "b" type: "InnerProduct" bottom: "v" top: "b"
          param { name: "w" } inner_product_param { num_output: 45 } }
  layer { name: "s" type: "Statistic" bottom: "b" top: "s" }
  layer { name: "c" type: "InnerProduct" bottom: "s" top: "c"
          inner_product_param { num_output: 2
            weight_filler { type: "xavier" } } }
  layer { name: "l" type: "EuclideanLoss" bottom: "c" top: "l" })";

std::vector<float> Copied(absl::Span<const float> values) {
  return {values.begin(), values.end()};
}

// What a solver does, by hand: iter_size 2, a shared test net now and then.
struct Trained {
  std::vector<float> weights, gradient, output;
  std::vector<double> losses;
};
Trained Train(Device& device) {
  Trained result;
  NetOptions options = TrainOptions();
  options.keep_blobs = false;
  auto net = MakeNet(kNet, device, options);
  if (net == nullptr) return result;
  FillRamp(net->blob("x")->mutable_data(), 0.3f);
  NetOptions test_options = TrainOptions();
  test_options.state.set_phase(caffe::TEST);
  test_options.share_weights_with = net.get();
  auto test = MakeNet(kNet, device, test_options);
  FillRamp(test->blob("x")->mutable_data(), 0.7f);
  StepState state;
  for (state.clock = 0; state.clock < 4; ++state.clock) {
    double loss = 0;
    for (state.pass = 0; state.pass < 2; ++state.pass)
      EXPECT_TRUE(net->ForwardBackward(state, state.pass == 1, &loss).ok());
    const auto gradient = net->gradients(static_cast<int>(state.clock % 2));
    const auto weights = net->weights();
    for (size_t i = 0; i < weights.size(); ++i)
      weights[i] -= 1e-3f * gradient[i];
    net->WeightsChanged();
    test->WeightsChanged();
    double tested = 0;
    EXPECT_TRUE(test->Forward(state, &tested).ok());
    result.losses.insert(result.losses.end(), {loss, tested});
  }
  result.weights = Copied(net->weights());
  result.gradient = Copied(net->gradients(1));
  result.output = Copied(test->blob("c")->data());
  return result;
}

TEST(NetMirror, TrainsToTheBitsOfHostMemory) {
  const auto cpu = MakeCpuDevice(1);
  MirrorDevice mirror;
  const Trained expected = Train(*cpu), actual = Train(mirror);
  EXPECT_EQ(actual.losses, expected.losses);
  EXPECT_EQ(actual.weights, expected.weights);
  EXPECT_EQ(actual.gradient, expected.gradient);
  EXPECT_EQ(actual.output, expected.output);
  EXPECT_NE(expected.losses.front(), expected.losses.back());
}

TEST(NetMirror, HasNoBlockedFormats) {
  const auto cpu = MakeCpuDevice(1);
  MirrorDevice mirror;
  const auto reorders = [](Device& device) {
    auto net = MakeNet(R"(
      layer { name: "in" type: "Input" top: "x"
              input_param { shape { dim: 2 dim: 5 dim: 3 dim: 3 } } }
      layer { name: "d" type: "BlockedDouble" bottom: "x" top: "d" })",
                       device);
    int count = 0;
    for (const PlanStep& step : net->plan().steps) count += step.reorder;
    return count;
  };
  EXPECT_EQ(reorders(*cpu), 2);
  EXPECT_EQ(reorders(mirror), 0);
}

TEST(NetMirror, UploadsWhatHasChanged) {
  MirrorDevice mirror;
  auto net = MakeNet(kNet, mirror);
  double loss = 0;
  ASSERT_TRUE(net->Forward(StepState(), &loss).ok());
  EXPECT_GE(mirror.from_host, net->weights().size() * sizeof(float));
  mirror.from_host = 0;
  ASSERT_TRUE(net->Forward(StepState(), &loss).ok());
  EXPECT_EQ(mirror.from_host, 0);
  net->WeightsChanged();
  ASSERT_TRUE(net->Forward(StepState(), &loss).ok());
  EXPECT_EQ(mirror.from_host, net->weights().size() * sizeof(float));
}

TEST(NetMirror, ViewsAreCoherentAndWritesHonoured) {
  MirrorDevice mirror;
  auto net = MakeNet(R"(
    force_backward: true
    layer { name: "in" type: "Input" top: "x"
            input_param { shape { dim: 1 dim: 3 } } }
    layer { name: "p" type: "Power" bottom: "x" top: "y" })",
                     mirror);
  Blob* x = net->blob("x");
  Blob* y = net->blob("y");
  const std::vector<float> in = {1, 2, -3};
  std::copy(in.begin(), in.end(), x->mutable_data().begin());
  EXPECT_THAT(x->data(), ElementsAre(1, 2, -3));  // before it is flushed
  ASSERT_TRUE(net->Forward(StepState(), nullptr).ok());
  EXPECT_THAT(y->data(), ElementsAre(1, 4, 9));
  const size_t read = mirror.to_host;
  EXPECT_THAT(y->data(), ElementsAre(1, 4, 9));
  EXPECT_GT(mirror.to_host, read);  // a view is fetched when it is taken
  std::fill_n(y->mutable_diff().begin(), 3, 10.f);
  ASSERT_TRUE(net->Backward(StepState()).ok());
  EXPECT_THAT(x->diff(), ElementsAre(20, 40, -60));
  // Reading is no writing.
  const size_t sent = mirror.from_host;
  ASSERT_TRUE(net->Forward(StepState(), nullptr).ok());
  EXPECT_EQ(mirror.from_host, sent);
  // A new shape, and values for it.
  ASSERT_TRUE(x->Reshape(Shape{2, 2}).ok());
  std::fill_n(x->mutable_data().begin(), 4, 3.f);
  ASSERT_TRUE(net->Forward(StepState(), nullptr).ok());
  EXPECT_THAT(y->data(), ElementsAre(9, 9, 9, 9));
}

// Notes what it hears, and whether the gradient was there by then.
class Sink : public GradientSink {
 public:
  explicit Sink(Net& net) : net_(net), host_(net.gradients(0)) {}
  absl::Status AwaitGradientSlot(int64_t clock) override {
    absl::MutexLock lock(&mu_);
    heard_.push_back(-1);
    return absl::OkStatus();
  }
  void GradientReady(int param, int64_t clock) override {
    const NetParam& p = net_.params()[param];
    absl::MutexLock lock(&mu_);
    heard_.push_back(param);
    const auto gradient = host_.subspan(p.offset, p.shape.count());
    present_ = present_ && std::any_of(gradient.begin(), gradient.end(),
                                       [](float g) { return g != 0; });
  }
  std::vector<int> heard() {
    absl::MutexLock lock(&mu_);
    return heard_;
  }
  bool present() {
    absl::MutexLock lock(&mu_);
    return present_;
  }

 private:
  Net& net_;
  const absl::Span<const float> host_;
  absl::Mutex mu_;
  std::vector<int> heard_;
  bool present_ = true;
};

TEST(NetMirror, TheSinkHearsInOrderWhenGradientsHaveArrived) {
  MirrorDevice mirror;
  auto net = MakeNet(kNet, mirror);
  FillRamp(net->blob("x")->mutable_data(), 0.3f);
  double loss = 0;
  ASSERT_TRUE(net->Forward(StepState(), &loss).ok());
  Sink sink(*net);
  net->AttachSync(&sink, nullptr);
  mirror.HoldEvents(true);
  EXPECT_TRUE(net->ForwardBackward(StepState(), true, &loss).ok());
  EXPECT_THAT(sink.heard(), ElementsAre(-1));  // backward did not wait
  mirror.HoldEvents(false);
  ASSERT_TRUE(net->AwaitGradients().ok());
  EXPECT_THAT(sink.heard(), ElementsAre(-1, 0, 1, 2, 3, 4, 5));
  EXPECT_TRUE(sink.present());
  net->AttachSync(nullptr, nullptr);
}

TEST(NetMirror, AFaultEndsTheStepAndTheCourier) {
  MirrorDevice mirror;
  auto net = MakeNet(kNet, mirror);
  double loss = 0;
  ASSERT_TRUE(net->ForwardBackward(StepState(), true, &loss).ok());
  Sink sink(*net);
  net->AttachSync(&sink, nullptr);
  mirror.Fail(absl::InternalError("an illegal access"));
  EXPECT_EQ(net->Forward(StepState(), &loss).message(),
            "an illegal access; --sync_layers tells in which layer it happens");
  // Without a loss fetch the step may go on; no gradient is delivered.
  net->ForwardBackward(StepState(), true, nullptr).IgnoreError();
  EXPECT_EQ(net->AwaitGradients().message(), "an illegal access");
  EXPECT_THAT(sink.heard(), ::testing::Each(-1));
  net->AttachSync(nullptr, nullptr);
}

TEST(NetMirror, SyncLayersNamesTheLayer) {
  MirrorDevice mirror;
  NetOptions options = TrainOptions();
  options.sync_layers = true;
  auto net = MakeNet(kNet, mirror, options);
  mirror.Fail(absl::InternalError("an illegal access"));
  const absl::Status status = net->Forward(StepState(), nullptr);
  EXPECT_NE(status.message().find("layer 'in'"), std::string::npos) << status;
}

}  // namespace
}  // namespace cssp
