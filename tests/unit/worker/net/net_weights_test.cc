// Weights in and out, and test nets that read the train net's slab.
#include "test_layers.h"

namespace cssp {
namespace {

using namespace testing;  // NOLINT: the fixtures of this folder
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kNet[] = R"(
  name: "n"
  layer { name: "in" type: "Input" top: "x"
          input_param { shape { dim: 2 dim: 3 } } }
  layer { name: "a" type: "InnerProduct" bottom: "x" top: "a"
          inner_product_param { num_output: 4
            weight_filler { type: "uniform" min: -1 max: 1 } } }
  layer { name: "b" type: "InnerProduct" bottom: "a" top: "b"
          inner_product_param { num_output: 2
            weight_filler { type: "uniform" min: -1 max: 1 } } }
  layer { name: "count" type: "Accuracy" bottom: "b" top: "count"
          include { phase: TEST } }
  layer { name: "l" type: "EuclideanLoss" bottom: "b" top: "l" })";

class NetWeights : public ::testing::Test {
 protected:
  std::unique_ptr<Net> Make(uint64_t seed = 1) {
    NetOptions options = TrainOptions();
    options.seed = seed;
    return MakeNet(kNet, *device_, options);
  }
  std::unique_ptr<Device> device_ = MakeCpuDevice(1);
};

TEST_F(NetWeights, ProtoRoundTrip) {
  auto a = Make(1), b = Make(2);
  ASSERT_TRUE(a && b);
  const caffe::NetParameter proto = a->ToProto(false);
  EXPECT_EQ(proto.name(), "n");
  ASSERT_EQ(proto.layer_size(), 4);
  EXPECT_EQ(proto.layer(1).blobs(0).shape().dim_size(), 2);
  EXPECT_EQ(proto.layer(1).blobs(0).diff_size(), 0);
  ASSERT_TRUE(b->LoadWeights(proto).ok());
  EXPECT_EQ(a->weights(), b->weights());
  FillRamp(a->blob("x")->mutable_data(), 1);
  ASSERT_TRUE(a->ForwardBackward(StepState(), true, nullptr).ok());
  const caffe::NetParameter with = a->ToProto(true);
  EXPECT_EQ(with.layer(2).blobs(0).diff(0), a->gradients(0)[0]);
}

TEST_F(NetWeights, LegacyShapesDoublesAndStrangers) {
  auto net = Make();
  ASSERT_TRUE(net);
  caffe::NetParameter trained;
  auto& stranger = *trained.add_layer();
  stranger.set_name("zebra");
  stranger.add_blobs()->add_data(1);
  auto& layer = *trained.add_layer();
  layer.set_name("a");
  auto& weights = *layer.add_blobs();
  weights.set_num(1);
  weights.set_channels(1);
  weights.set_height(4);
  weights.set_width(3);
  for (int i = 0; i < 12; ++i) weights.add_double_data(i + 0.5);
  auto& bias = *layer.add_blobs();
  bias.set_num(1);
  bias.set_channels(1);
  bias.set_height(1);
  bias.set_width(4);
  for (int i = 0; i < 4; ++i) bias.add_data(i);
  const std::vector<float> before(net->weights().begin(),
                                  net->weights().end());
  ASSERT_TRUE(net->LoadWeights(trained).ok());
  const int a = net->param_of(1, 0);
  for (int i = 0; i < 12; ++i)
    EXPECT_EQ(net->weights()[net->params()[a].offset + i], i + 0.5f);
  EXPECT_EQ(net->weights()[0], before[0]);  // b keeps its values
}

TEST_F(NetWeights, AMismatchNamesTheLayerAndChangesNothing) {
  auto net = Make();
  ASSERT_TRUE(net);
  const std::vector<float> before(net->weights().begin(),
                                  net->weights().end());
  const auto refused = [&](auto damage, const char* what) {
    caffe::NetParameter proto = net->ToProto(false);
    for (float& v : *proto.mutable_layer(1)->mutable_blobs(0)->mutable_data())
      v = 9;
    damage(*proto.mutable_layer(2));
    const absl::Status status = net->LoadWeights(proto);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("layer 'b' (InnerProduct)"), HasSubstr(what)));
    EXPECT_EQ(std::vector<float>(net->weights().begin(), net->weights().end()),
              before);
  };
  refused([](caffe::LayerParameter& b) {
    b.mutable_blobs(0)->mutable_shape()->set_dim(0, 4);
    b.mutable_blobs(0)->mutable_shape()->set_dim(1, 2);
  }, "shape mismatch; the source's shape is 4 2, this net needs 2 4 (8)");
  refused([](caffe::LayerParameter& b) { b.mutable_blobs()->RemoveLast(); },
          "the source has 1, this net needs 2");
  refused([](caffe::LayerParameter& b) {
    b.mutable_blobs(1)->mutable_data()->RemoveLast();
  }, "holds 1 values");
}

TEST_F(NetWeights, ValuesInThePrototxtStartTheNet) {
  caffe::NetParameter proto = Make(1)->ToProto(false);
  const LayerRegistry registry = TestRegistry();
  NetOptions options = TrainOptions();
  options.seed = 3;
  auto net = Net::Create(proto, registry, *device_, options);
  ASSERT_TRUE(net.ok()) << net.status();
  EXPECT_EQ((*net)->weights(), Make(1)->weights());
}

TEST_F(NetWeights, TestNetReadsTheTrainNetsSlab) {
  auto train = Make();
  ASSERT_TRUE(train);
  Trace trace;
  NetOptions options = TrainOptions();
  options.state.set_phase(caffe::TEST);
  options.keep_blobs = false;
  options.share_weights_with = train.get();
  auto test = MakeNet(kNet, *device_, options, &trace);
  ASSERT_TRUE(test);
  EXPECT_EQ(test->weights().data(), train->weights().data());
  for (size_t i = 0; i < test->params().size(); ++i)
    EXPECT_EQ(test->params()[i].offset, train->params()[i].offset);
  FillRamp(train->blob("x")->mutable_data(), 1);
  FillRamp(test->blob("x")->mutable_data(), 1);
  double a = 0, b = 0;
  for (int round : {0, 1}) {
    for (float& w : train->weights()) w *= 1.5f;
    train->WeightsChanged();
    trace.clear();
    ASSERT_TRUE(train->Forward(StepState(), &a).ok());
    ASSERT_TRUE(test->Forward(StepState(), &b).ok());
    EXPECT_EQ(a, b) << round;
    EXPECT_THAT(trace, ::testing::IsSupersetOf({"params a", "params b"}));
  }
  EXPECT_EQ(test->Backward(StepState()).code(),
            absl::StatusCode::kFailedPrecondition);
  train.reset();  // the slab lives on
  ASSERT_TRUE(test->Forward(StepState(), &b).ok());
  EXPECT_EQ(a, b);
}

// A parameter that its layer gives values to, as Python's do.
class Given final : public TestInnerProduct {
 public:
  Given(caffe::LayerParameter param, caffe::Phase phase)
      : TestInnerProduct(std::move(param), phase, nullptr) {}
  absl::Status SetUp(absl::Span<const Shape> bottom) override {
    DeclareParam({.shape = Shape{2, bottom[0].count_from(1)},
                  .values = {1, 2, 3, 4, 5, 6}});
    return absl::OkStatus();
  }
};

TEST_F(NetWeights, ParametersBeginWithTheirLayersValues) {
  LayerRegistry registry = TestRegistry();
  ASSERT_TRUE(
      registry.Register("Given", DeviceType::kCpu, MakeLayer<Given>).ok());
  caffe::NetParameter proto = ParseNet(R"(
      layer { name: "in" type: "Input" top: "x"
              input_param { shape { dim: 2 dim: 3 } } }
      layer { name: "g" type: "Given" bottom: "x" top: "g"
              inner_product_param { num_output: 2 bias_term: false } }
      layer { name: "l" type: "EuclideanLoss" bottom: "g" top: "l" })");
  NetOptions options = TrainOptions();
  auto train = Net::Create(proto, registry, *device_, options);
  ASSERT_TRUE(train.ok()) << train.status();
  EXPECT_THAT((*train)->param_data(0),
              ::testing::ElementsAre(1, 2, 3, 4, 5, 6));
  // Who shares them leaves them alone.
  (*train)->param_data(0)[0] = 9;
  options.share_weights_with = train->get();
  const auto test = Net::Create(proto, registry, *device_, options);
  ASSERT_TRUE(test.ok()) << test.status();
  EXPECT_EQ((*train)->param_data(0)[0], 9);
  caffe::BlobProto& blob = *proto.mutable_layer(1)->add_blobs();
  for (int dim : {2, 3}) blob.mutable_shape()->add_dim(dim);
  blob.mutable_data()->Resize(6, 7);
  const auto stored = Net::Create(proto, registry, *device_, TrainOptions());
  ASSERT_TRUE(stored.ok()) << stored.status();
  EXPECT_THAT((*stored)->param_data(0), ::testing::Each(7));
}

TEST_F(NetWeights, TestNetMayHaveLayersOfItsOwnButNoOtherShapes) {
  auto train = Make();
  ASSERT_TRUE(train);
  NetOptions options = TrainOptions();
  options.state.set_phase(caffe::TEST);
  options.share_weights_with = train.get();
  auto test = MakeNet(std::string(kNet) + R"(
      layer { name: "own" type: "InnerProduct" bottom: "b" top: "own"
              inner_product_param { num_output: 2 bias_term: false
                weight_filler { type: "constant" value: 2 } } })",
                      *device_, options);
  ASSERT_TRUE(test);
  EXPECT_EQ(test->params()[0].key, "own/0");
  EXPECT_EQ(test->params()[0].offset, train->weights().size());
  FillRamp(test->blob("x")->mutable_data(), 1);
  ASSERT_TRUE(test->ForwardBackward(StepState(), true, nullptr).ok());
  const auto b = test->blob("b")->data();
  EXPECT_FLOAT_EQ(test->blob("own")->data()[0], 2 * (b[0] + b[1]));

  std::string other(kNet);
  other.replace(other.find("num_output: 4"), 13, "num_output: 5");
  const LayerRegistry registry = TestRegistry();
  const auto refused =
      Net::Create(ParseNet(other), registry, *device_, options);
  EXPECT_THAT(std::string(refused.status().message()),
              AllOf(HasSubstr("net.prototxt: layer '"),
                    HasSubstr("but the train net's layer of that name has")));
}

}  // namespace
}  // namespace cssp
