// What Net::Create makes of a prototxt, and what it refuses.
#include "test_layers.h"

namespace cssp {
namespace {

using namespace testing;  // NOLINT: the fixtures of this folder
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kChain[] = R"(
  name: "chain"
  layer { name: "in" type: "Input" top: "x"
          input_param { shape { dim: 2 dim: 3 } } }
  layer { name: "ip1" type: "InnerProduct" bottom: "x" top: "h"
          param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
          inner_product_param { num_output: 5
            weight_filler { type: "uniform" min: -1 max: 1 } } }
  layer { name: "relu" type: "ReLU" bottom: "h" top: "h" }
  layer { name: "ip2" type: "InnerProduct" bottom: "h" top: "y"
          inner_product_param { num_output: 2 } }
  layer { name: "count" type: "Accuracy" bottom: "y" top: "count"
          include { phase: TEST } }
  layer { name: "loss" type: "EuclideanLoss" bottom: "y" top: "loss" })";

class NetCreate : public ::testing::Test {
 protected:
  std::string Error(const std::string& text) {
    const LayerRegistry registry = TestRegistry();
    auto net =
        Net::Create(ParseNet(text), registry, *device_, TrainOptions());
    EXPECT_FALSE(net.ok()) << "accepted: " << text;
    return std::string(net.status().message());
  }
  static std::string Input() {
    return R"(layer { name: "in" type: "Input" top: "x"
                      input_param { shape { dim: 2 dim: 3 } } } )";
  }
  std::unique_ptr<Device> device_ = MakeCpuDevice(1);
};

TEST_F(NetCreate, NamesShapesAndOutputs) {
  auto net = MakeNet(kChain, *device_);
  ASSERT_TRUE(net);
  EXPECT_EQ(net->name(), "chain");
  EXPECT_THAT(net->layer_names(),
              ElementsAre("in", "ip1", "relu", "ip2", "loss"));
  EXPECT_THAT(net->blob_names(), ElementsAre("x", "h", "y", "loss"));
  EXPECT_THAT(net->input_names(), ElementsAre("x"));
  EXPECT_THAT(net->output_names(), ElementsAre("loss"));
  EXPECT_EQ(net->output_loss_weight("loss"), 1);
  EXPECT_EQ(net->output_loss_weight("y"), 0);
  EXPECT_EQ(net->blob("y")->shape(), (Shape{2, 2}));
  EXPECT_EQ(net->blob("loss")->shape(), Shape());
  EXPECT_EQ(net->blob("nothing"), nullptr);
}

TEST_F(NetCreate, OutputsAreAlphabeticalAndFilteredByPhase) {
  NetOptions options = TrainOptions();
  options.state.set_phase(caffe::TEST);
  auto net = MakeNet(kChain, *device_, options);
  ASSERT_TRUE(net);
  EXPECT_THAT(net->output_names(), ElementsAre("count", "loss"));
  EXPECT_EQ(net->phase(), caffe::TEST);
}

TEST_F(NetCreate, SlabIsOrderedByCompletionOfBackward) {
  auto net = MakeNet(kChain, *device_);
  ASSERT_TRUE(net);
  std::vector<std::string> keys;
  std::vector<int64_t> offsets;
  for (const NetParam& param : net->params()) {
    keys.push_back(param.key);
    offsets.push_back(param.offset);
  }
  EXPECT_THAT(keys, ElementsAre("ip2/0", "ip2/1", "ip1/0", "ip1/1"));
  EXPECT_THAT(offsets, ElementsAre(0, 16, 32, 48));  // 10, 2, 15, 5 floats
  EXPECT_EQ(net->weights().size(), 64);
  EXPECT_EQ(net->params()[3].lr_mult, 2);
  EXPECT_EQ(net->params()[3].decay_mult, 0);
  EXPECT_EQ(net->param_of(1, 1), 3);
  EXPECT_EQ(net->num_layer_params(1), 2);
  for (int i : {10, 15, 18, 31, 47, 53, 63})
    EXPECT_EQ(net->weights()[i], 0) << "padding " << i;
}

TEST_F(NetCreate, SharedParameterIsItsFirstUsers) {
  auto net = MakeNet(Input() + R"(
      layer { name: "a" type: "InnerProduct" bottom: "x" top: "a"
              param { name: "w" } inner_product_param { num_output: 3 } }
      layer { name: "b" type: "InnerProduct" bottom: "a" top: "b"
              param { name: "w" lr_mult: 4 }
              inner_product_param { num_output: 3 } }
      layer { name: "l" type: "EuclideanLoss" bottom: "b" top: "l" })",
                     *device_);
  ASSERT_TRUE(net);
  std::vector<std::string> keys;
  for (const NetParam& param : net->params()) keys.push_back(param.key);
  EXPECT_THAT(keys, ElementsAre("b/1", "w", "a/1"));
  EXPECT_EQ(net->params()[1].layer, 1);
  EXPECT_EQ(net->params()[1].lr_mult, 4);  // only the sharer gave one
  EXPECT_EQ(net->param_of(1, 0), 1);
  EXPECT_EQ(net->param_of(2, 0), 1);
}

TEST_F(NetCreate, PermissiveSharingComparesCounts) {
  const auto text = [](const char* mode) {
    return Input() + R"(
      layer { name: "a" type: "InnerProduct" bottom: "x" top: "a"
              param { name: "w" } inner_product_param { num_output: 2 } }
      layer { name: "b" type: "InnerProduct" bottom: "a" top: "b"
              param { name: "w" )" + mode + R"( }
              inner_product_param { num_output: 3 } })";
  };
  EXPECT_TRUE(MakeNet(text("share_mode: PERMISSIVE"), *device_));
  EXPECT_THAT(Error(text("")),
              AllOf(HasSubstr("net.prototxt: layer 'b' (InnerProduct): "),
                    HasSubstr("'w' owned by layer 'a' (InnerProduct)"),
                    HasSubstr("shape mismatch"), HasSubstr("2 3 (6)"),
                    HasSubstr("3 2 (6)")));
}

TEST_F(NetCreate, SharedMultipliersMustAgree) {
  EXPECT_THAT(Error(Input() + R"(
      layer { name: "a" type: "InnerProduct" bottom: "x" top: "a"
              param { name: "w" lr_mult: 1 }
              inner_product_param { num_output: 3 } }
      layer { name: "b" type: "InnerProduct" bottom: "a" top: "b"
              param { name: "w" lr_mult: 2 }
              inner_product_param { num_output: 3 } })"),
              HasSubstr("mismatched lr_mult: 1 there, 2 here"));
}

TEST_F(NetCreate, ErrorsNameFileLayerAndType) {
  EXPECT_EQ(Error(Input() + R"(
      layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" })"),
            "net.prototxt: layer 'ip' (InnerProduct): num_output must be > 0");
  EXPECT_THAT(Error(Input() + R"(
      layer { name: "q" type: "Quantum" bottom: "x" top: "y" })"),
              AllOf(HasSubstr("net.prototxt: layer 'q' (Quantum): unknown"),
                    HasSubstr("InnerProduct, Input, Power")));
  EXPECT_THAT(Error(Input() + R"(
      layer { name: "r" type: "ReLU" bottom: "z" top: "y" })"),
              AllOf(HasSubstr("net.prototxt: "), HasSubstr("'z'"),
                    HasSubstr("'r'")));
  EXPECT_THAT(Error(Input() + R"(
      layer { name: "r" type: "ReLU" bottom: "x" top: "y" }
      layer { name: "s" type: "ReLU" bottom: "y" top: "x" })"),
              AllOf(HasSubstr("layer 's' (ReLU): top blob 'x'"),
                    HasSubstr("already produced")));
  EXPECT_THAT(Error(Input() + R"(
      layer { name: "r" type: "ReLU" bottom: "x" bottom: "x" top: "y" })"),
              HasSubstr("layer 'r' (ReLU): takes exactly 1 bottom, got 2"));
  EXPECT_THAT(Error(Input() + R"(
      layer { name: "r" type: "ReLU" bottom: "x" })"),
              HasSubstr("takes exactly 1 top, got 0"));
  EXPECT_THAT(Error(Input() + R"(
      layer { name: "r" type: "ReLU" bottom: "x" top: "y"
              propagate_down: true propagate_down: false })"),
              HasSubstr("propagate_down must be given for none or for each"));
  EXPECT_THAT(Error(Input() + R"(
      layer { name: "l" type: "EuclideanLoss" bottom: "x" top: "l"
              loss_weight: 1 loss_weight: 2 })"),
              HasSubstr("loss_weight must be given for none or for each"));
  EXPECT_THAT(Error(Input() + R"(
      layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
              param {} param {} param {}
              inner_product_param { num_output: 3 } })"),
              HasSubstr("has 2 parameter blobs, but 3 param entries"));
  EXPECT_THAT(Error(Input() + R"(
      layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
              inner_product_param { num_output: 3
                weight_filler { type: "zebra" } } })"),
              AllOf(HasSubstr("layer 'ip' (InnerProduct): "),
                    HasSubstr("zebra")));
}

TEST_F(NetCreate, TwoLayersOfOneNameWithParametersAreRefused) {
  EXPECT_THAT(Error(Input() + R"(
      layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
              inner_product_param { num_output: 3 } }
      layer { name: "ip" type: "InnerProduct" bottom: "y" top: "z"
              inner_product_param { num_output: 3 } })"),
              HasSubstr("'ip/0' is also layer 'ip'"));
}

TEST_F(NetCreate, NothingLeftInThisPhaseIsAnError) {
  EXPECT_THAT(Error(R"(layer { name: "in" type: "Input" top: "x"
                        include { phase: TEST } })"),
              HasSubstr("no layers in this phase"));
}

TEST_F(NetCreate, AGradientThroughALayerWithoutOneIsRefused) {
  EXPECT_THAT(Error(Input() + R"(
      layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
              inner_product_param { num_output: 3 } }
      layer { name: "c" type: "Accuracy" bottom: "y" top: "c"
              loss_weight: 1 })"),
              AllOf(HasSubstr("layer 'c' (Accuracy)"),
                    HasSubstr("a gradient must flow to bottom 'y'")));
}

TEST_F(NetCreate, AutomaticTopsAreNoOutputs) {
  auto net = MakeNet(Input() + R"(
      layer { name: "l" type: "EuclideanLoss" bottom: "x" })",
                     *device_);
  ASSERT_TRUE(net);
  EXPECT_TRUE(net->output_names().empty());
  FillRamp(net->blob("x")->mutable_data(), 1);
  double loss = 0;
  ASSERT_TRUE(net->Forward(StepState(), &loss).ok());
  EXPECT_GT(loss, 0);
}

TEST_F(NetCreate, SameSeedSameWeights) {
  auto a = MakeNet(kChain, *device_), b = MakeNet(kChain, *device_);
  NetOptions other = TrainOptions();
  other.seed = 2;
  auto c = MakeNet(kChain, *device_, other);
  ASSERT_TRUE(a && b && c);
  EXPECT_EQ(a->weights(), b->weights());
  EXPECT_NE(a->weights(), c->weights());
}

}  // namespace
}  // namespace cssp
