// Nets whose shapes depend on data: what is behind a Filter has them.
#include <cmath>

#include "test_layers.h"
#include "worker/layers/builtin_layers.h"
#include "worker/net/execution_plan.h"

namespace cssp {
namespace {

using namespace testing;  // NOLINT: the fixtures of this folder

constexpr int kItems = 6;

// x -> ip -> filter -> relu, ip2, flatten -> loss over the selected alone.
constexpr char kNet[] = R"(
  layer { name: "in" type: "Input" top: "x" top: "label" top: "selector"
          input_param { shape { dim: 6 dim: 3 dim: 2 dim: 2 }
                        shape { dim: 6 } shape { dim: 6 } } }
  layer { name: "c" type: "Convolution" bottom: "x" top: "c"
          convolution_param { num_output: 16 kernel_size: 1
            weight_filler { type: "gaussian" std: 0.5 } } }
  layer { name: "f" type: "Filter" bottom: "c" bottom: "label"
          bottom: "selector" top: "fc" top: "fl" }
  layer { name: "r" type: "ReLU" bottom: "fc" top: "fc" }
  layer { name: "c2" type: "Convolution" bottom: "fc" top: "c2"
          convolution_param { num_output: 8 kernel_size: 1
            weight_filler { type: "gaussian" std: 0.5 } } }
  layer { name: "v" type: "Flatten" bottom: "c2" top: "v" }
  layer { name: "ip" type: "InnerProduct" bottom: "v" top: "ip"
          inner_product_param { num_output: 4
            weight_filler { type: "gaussian" std: 0.3 } } }
  layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "fl"
          top: "loss" })";

class DataShape : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override { ASSERT_TRUE(RegisterCpuLayers(registry_).ok()); }

  std::unique_ptr<Net> Make(const std::string& text) {
    NetOptions options = TrainOptions();
    options.keep_blobs = GetParam();
    auto net = Net::Create(ParseNet(text), registry_, *device_, options);
    EXPECT_TRUE(net.ok()) << net.status();
    return net.ok() ? *std::move(net) : nullptr;
  }

  static void SetInputs(Net& net, const std::vector<int>& selected) {
    auto x = net.blob("x")->mutable_data();
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] = static_cast<float>(std::sin(1e-2 * i * i));
    }
    auto label = net.blob("label")->mutable_data();
    auto selector = net.blob("selector")->mutable_data();
    for (int n = 0; n < kItems; ++n) {
      label[n] = static_cast<float>(n % 4);
      selector[n] = 0;
    }
    for (int n : selected) selector[n] = 1;
  }

  // The same by hand: a net of the selected items alone, no Filter in it.
  std::unique_ptr<Net> Without(const std::vector<int>& selected,
                               const Net& like) {
    const int items = static_cast<int>(selected.size());
    std::string text = kNet;
    const auto replace = [&](const std::string& from, const std::string& to) {
      for (size_t at = text.find(from); at != std::string::npos;
           at = text.find(from, at + to.size())) {
        text.replace(at, from.size(), to);
      }
    };
    replace("dim: 6", "dim: " + std::to_string(items));
    replace(R"(bottom: "selector" top: "fc" top: "fl" })", "");
    replace(R"(layer { name: "f" type: "Filter" bottom: "c" bottom: "label")",
            "");
    replace("\"fc\"", "\"c\"");
    replace("\"fl\"", "\"label\"");
    auto net = Make(text);
    if (!net) return nullptr;
    std::vector<float> x(kItems * 12);
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] = static_cast<float>(std::sin(1e-2 * i * i));
    }
    auto data = net->blob("x")->mutable_data();
    auto label = net->blob("label")->mutable_data();
    for (int i = 0; i < items; ++i) {
      std::copy_n(x.begin() + selected[i] * 12, 12, data.begin() + i * 12);
      label[i] = static_cast<float>(selected[i] % 4);
    }
    EXPECT_EQ(net->weights().size(), const_cast<Net&>(like).weights().size());
    std::copy(const_cast<Net&>(like).weights().begin(),
              const_cast<Net&>(like).weights().end(), net->weights().begin());
    net->WeightsChanged();
    return net;
  }

  LayerRegistry registry_;
  std::unique_ptr<Device> device_ = MakeCpuDevice(1);
};

TEST_P(DataShape, AgreesWithANetOfTheSelectedItemsAlone) {
  auto net = Make(kNet);
  ASSERT_TRUE(net);
  StepState state;
  for (const std::vector<int>& selected :
       {std::vector<int>{1, 2, 5}, {0}, {0, 1, 2, 3, 4, 5}, {3, 4}}) {
    SetInputs(*net, selected);
    double loss = 0, expected = 0;
    ASSERT_TRUE(net->ForwardBackward(state, true, &loss).ok());
    auto plain = Without(selected, *net);
    ASSERT_TRUE(plain);
    ASSERT_TRUE(plain->ForwardBackward(state, true, &expected).ok());
    EXPECT_NEAR(loss, expected, 1e-5);
    for (size_t i = 0; i < net->weights().size(); ++i) {
      ASSERT_NEAR(net->gradients(state.clock & 1)[i],
                  plain->gradients(state.clock & 1)[i], 1e-5);
    }
    if (GetParam()) {
      EXPECT_EQ(net->blob("fl")->shape(),
                Shape({static_cast<int64_t>(selected.size())}));
      EXPECT_EQ(net->blob("ip")->data().size(), 4 * selected.size());
      EXPECT_EQ(net->blob("fl")->data()[0],
                static_cast<float>(selected[0] % 4));
    }
    ++state.clock;
  }
}

TEST_P(DataShape, NothingSelectedHasNoLossAndNoGradient) {
  auto net = Make(kNet);
  ASSERT_TRUE(net);
  StepState state;
  SetInputs(*net, {1, 3});
  double loss = 0;
  ASSERT_TRUE(net->ForwardBackward(state, true, &loss).ok());
  EXPECT_GT(loss, 0);
  SetInputs(*net, {});
  state.clock = 2;
  const absl::Status status = net->ForwardBackward(state, true, &loss);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(loss, 0);
  for (float g : net->gradients(0)) ASSERT_EQ(g, 0);
}

TEST_P(DataShape, WhatCannotFollowIsAnErrorThatNamesTheLayer) {
  const std::string text = R"(
      layer { name: "in" type: "Input" top: "x" top: "selector"
              input_param { shape { dim: 6 dim: 3 } shape { dim: 6 } } }
      layer { name: "f" type: "Filter" bottom: "x" bottom: "selector"
              top: "f" }
      layer { name: "sum" type: "Eltwise" bottom: "f" bottom: "x" top: "sum" }
      layer { name: "power" type: "Power" bottom: "sum" top: "power" })";
  auto net = Make(text);
  ASSERT_TRUE(net);
  const auto select = [&](float first) {
    auto selector = net->blob("selector")->mutable_data();
    std::fill(selector.begin(), selector.end(), 1.0f);
    selector[0] = first;
  };
  for (int round = 0; round < 2; ++round) {
    select(1);
    EXPECT_TRUE(net->Forward(StepState(), nullptr).ok());
    EXPECT_EQ(net->blob("power")->shape(), Shape({6, 3}));
    select(0);
    for (int again = 0; again < 2; ++again) {
      const absl::Status status = net->Forward(StepState(), nullptr);
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_THAT(std::string(status.message()),
                  ::testing::HasSubstr("layer 'sum' (Eltwise)"));
    }
  }
}

// SSD's end: an output of the net that is as long as there are detections.
TEST_P(DataShape, DetectionsAreAsManyAsThereAre) {
  auto net = Make(R"(
      layer { name: "in" type: "Input" top: "map" top: "image" top: "loc"
              top: "conf"
              input_param { shape { dim: 1 dim: 1 dim: 1 dim: 3 }
                            shape { dim: 1 dim: 3 dim: 100 dim: 300 }
                            shape { dim: 1 dim: 12 } shape { dim: 1 dim: 6 } } }
      layer { name: "prior" type: "PriorBox" bottom: "map" bottom: "image"
              top: "prior" prior_box_param { min_size: 60 } }
      layer { name: "out" type: "DetectionOutput" bottom: "loc" bottom: "conf"
              bottom: "prior" top: "out"
              detection_output_param { num_classes: 2
                                       confidence_threshold: 0.5 } }
      layer { name: "pixels" type: "Power" bottom: "out" top: "pixels"
              power_param { scale: 300 } })");
  ASSERT_TRUE(net);
  Blob* pixels = net->blob("pixels");
  for (const std::vector<float>& scores :
       {std::vector<float>{0.75f, 0.25f, 1.0f}, {0, 0, 0}, {1, 1, 1}}) {
    auto conf = net->blob("conf")->mutable_data();
    int64_t found = 0;
    for (int p = 0; p < 3; ++p) {
      conf[2 * p] = 1 - scores[p];
      conf[2 * p + 1] = scores[p];
      found += scores[p] > 0.5f;
    }
    ASSERT_TRUE(net->Forward(StepState(), nullptr).ok());
    ASSERT_EQ(pixels->shape(), Shape({1, 1, std::max<int64_t>(found, 1), 7}));
    const auto rows = pixels->data();
    ASSERT_EQ(rows.size(), std::max<int64_t>(found, 1) * 7);
    EXPECT_EQ(rows[1], found > 0 ? 300 : -300);  // the class, or nothing
    if (found == 2) {
      EXPECT_NEAR(rows[3], 220, 1e-3);  // the best: the third prior's xmin
      EXPECT_NEAR(rows[7 + 3], 20, 1e-3);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, DataShape, ::testing::Bool(),
                         [](const auto& info) {
                           return info.param ? "KeepBlobs" : "Lean";
                         });

}  // namespace
}  // namespace cssp
