// In-place layers: which prototxts are refused, and which are not.
#include <cmath>
#include <string>

#include "test_layers.h"
#include "worker/layers/builtin_layers.h"
#include "worker/net/execution_plan.h"

namespace cssp {
namespace {

using namespace testing;  // NOLINT: the fixtures of this folder
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kInput[] = R"(
  layer { name: "in" type: "Input" top: "x"
          input_param { shape { dim: 2 dim: 4 dim: 3 dim: 3 } } })";

// In place where `top` is empty.
std::string L(const std::string& name, const std::string& type,
              const std::string& bottom, const std::string& top = "",
              const std::string& more = "") {
  return "layer { name: '" + name + "' type: '" + type + "' bottom: '" +
         bottom + "' top: '" + (top.empty() ? bottom : top) + "' " + more +
         " }";
}

std::string Conv(const std::string& name, const std::string& bottom,
                 const std::string& top, const std::string& more = "") {
  return L(name, "Convolution", bottom, top,
           "convolution_param { num_output: 4 kernel_size: 1 weight_filler { "
           "type: 'gaussian' std: 0.5 } } " +
               more);
}

std::string Loss(const std::string& bottom) {
  return L("loss", "Reduction", bottom, "loss",
           "loss_weight: 1 reduction_param { operation: SUMSQ }");
}

class InPlaceTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(RegisterCpuLayers(registry_).ok()); }

  absl::StatusOr<std::unique_ptr<Net>> Make(const std::string& text,
                                            caffe::Phase phase,
                                            bool keep_blobs = true) {
    NetOptions options = TrainOptions();
    options.keep_blobs = keep_blobs;
    options.state.set_phase(phase);
    return Net::Create(ParseNet(kInput + text), registry_, *device_, options);
  }

  // Its gradients, too, are right, with and without memory reuse.
  void ExpectLegal(const std::string& text, caffe::Phase phase = caffe::TRAIN) {
    for (const bool keep_blobs : {true, false}) {
      if (phase == caffe::TEST && !keep_blobs) continue;
      auto net = Make(text, phase, keep_blobs);
      ASSERT_TRUE(net.ok()) << net.status();
      auto x = (*net)->blob("x")->mutable_data();
      for (size_t i = 0; i < x.size(); ++i) {
        x[i] = static_cast<float>(std::sin(1e-2 * i * i + 1));
      }
      ExpectNumericGradient(**net, 1e-3f, 5e-2f);
    }
  }

  void ExpectRefused(const std::string& text, const std::string& writer,
                     const std::string& reader) {
    const absl::Status status = Make(text, caffe::TRAIN).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("layer '" + writer + "'"), HasSubstr(reader)));
    EXPECT_TRUE(Make(text, caffe::TEST).ok());
  }

  LayerRegistry registry_;
  std::unique_ptr<Device> device_ = MakeCpuDevice(1);
};

TEST_F(InPlaceTest, ReluAndDropout) {
  ExpectLegal(Conv("c", "x", "c") + L("r", "ReLU", "c") +
              L("d", "Dropout", "c") + L("r2", "ReLU", "c") +
              Conv("c2", "c", "e") + Loss("e"));
}

TEST_F(InPlaceTest, WhatKeepsCopiesMayBeOverwritten) {
  ExpectLegal(Conv("c", "x", "c") + L("bn", "BatchNorm", "c") +
              L("s", "Scale", "c", "", "scale_param { bias_term: true }") +
              L("r", "ReLU", "c") + Conv("c2", "c", "e") +
              L("p", "PReLU", "e") + L("w", "Swish", "e") + Loss("e"));
  ExpectLegal(Conv("c", "x", "c") +
              L("bn", "BatchNorm", "c", "",
                "batch_norm_param { scale_bias: true }") +
              L("r", "ReLU", "c") + Loss("c"));
}

TEST_F(InPlaceTest, ATopThatCaffeDoesNotRead) {
  // Not in place, Caffe's ReLU looks at its bottom.
  ExpectLegal(Conv("c", "x", "c") + L("r", "ReLU", "c", "r") +
              L("s", "Scale", "r") + Loss("r"));
  ExpectLegal(Conv("c", "x", "c") + L("r", "ReLU6", "c", "r") +
              L("s", "Dropout", "r") + Loss("r"));
  ExpectLegal(Conv("c", "x", "c") +
              L("p", "Pooling", "c", "p",
                "pooling_param { kernel_size: 2 stride: 1 }") +
              L("r", "ReLU", "p") + Loss("p"));
  ExpectLegal(Conv("c", "x", "c") + L("s", "Sigmoid", "c") +
              Conv("c2", "c", "e") + Loss("e"));
}

TEST_F(InPlaceTest, SplitsOfWhatWasMadeInPlace) {
  ExpectLegal(Conv("a", "x", "a") + L("r", "ReLU", "a") +
              Conv("b", "a", "b") + Conv("c", "a", "c") +
              "layer { name: 'e' type: 'Eltwise' bottom: 'b' bottom: 'c' "
              "bottom: 'a' top: 'e' }" +
              L("r2", "ReLU", "e") + Loss("e"));
}

TEST_F(InPlaceTest, BelowTheLastParameterNothingIsNeeded) {
  auto net = Make(L("t", "TanH", "x", "t") + L("d", "Dropout", "t") +
                      Conv("c", "t", "c") + Loss("c"),
                  caffe::TRAIN);
  EXPECT_TRUE(net.ok()) << net.status();
}

TEST_F(InPlaceTest, AnothersTop) {
  ExpectRefused(Conv("c", "x", "c") + L("g", "Sigmoid", "c") +
                    L("d", "Dropout", "c") + Loss("c"),
                "d", "layer 'g' (Sigmoid)");
  ExpectRefused(Conv("c", "x", "c") + L("t", "TanH", "c", "t") +
                    L("r", "ReLU", "t") + Loss("t"),
                "r", "layer 't' (TanH)");
  // A factor may turn signs, which the ReLU in place looks at.
  ExpectRefused(Conv("c", "x", "c") + L("r", "ReLU", "c") +
                    L("d", "Dropout", "c") + L("s", "Scale", "c") + Loss("c"),
                "s", "layer 'r' (ReLU)");
  ExpectRefused(Conv("c", "x", "c") + L("r", "ReLU6", "c") +
                    L("d", "Dropout", "c") + Loss("c"),
                "d", "layer 'r' (ReLU6)");
}

TEST_F(InPlaceTest, ItsOwnBottom) {
  const std::string power = "power_param { power: 2 }";
  ExpectRefused(Conv("c", "x", "c") + L("p", "Power", "c", "", power) +
                    Loss("c"),
                "p", "its own backward");
  ExpectRefused(Conv("c", "x", "c") + L("a", "AbsVal", "c") + Loss("c"), "a",
                "its own backward");
  ExpectLegal(Conv("c", "x", "c") +
              L("p", "Power", "c", "", "power_param { scale: -2 shift: 1 }") +
              Loss("c"));
}

// A view and a split show the same memory under other names.
TEST_F(InPlaceTest, OverSplitsAndViews) {
  const std::string flat = L("f", "Flatten", "c", "f");
  const std::string relu = L("r", "ReLU", "f");
  const std::string reader = Conv("c2", "c", "e");
  const std::string losses =
      Loss("e") + L("loss2", "Reduction", "f", "loss2", "loss_weight: 1");
  ExpectRefused(Conv("c", "x", "c") + reader + flat + relu + losses, "r",
                "layer 'c2' (Convolution)");
  ExpectRefused(Conv("c", "x", "c") + flat + relu + reader + losses, "r",
                "layer 'c2' (Convolution)");
  // Nobody's backward needs the other branch.
  ExpectLegal(Conv("c", "x", "c") + L("b", "Bias", "c", "b") + flat + relu +
              Loss("b") +
              L("loss2", "Reduction", "f", "loss2", "loss_weight: 1"));
}

// In a TEST net backward is the user's own wish: it is right all the same.
TEST_F(InPlaceTest, TestNetsComputeRight) {
  ExpectLegal(Conv("c", "x", "c") + L("g", "Sigmoid", "c") +
                  L("t", "TanH", "c") +
                  L("p", "Power", "c", "", "power_param { power: 2 }") +
                  Conv("c2", "c", "e") + L("f", "Flatten", "c", "f") +
                  L("r", "Scale", "f") + Loss("e") +
                  L("loss2", "Reduction", "f", "loss2",
                    "loss_weight: 1 reduction_param { operation: SUMSQ }"),
              caffe::TEST);
  EXPECT_FALSE(Net::Create(ParseNet("force_backward: true " +
                                    (kInput + L("p", "AbsVal", "x", "x"))),
                           registry_, *device_, TrainOptions())
                   .ok());
}

}  // namespace
}  // namespace cssp
