// A net on a GPU, seen from outside: blob views, sources, shapes that data
// decide, layers that work on the host, faults.  Needs a GPU: skipped by name
// elsewhere.
#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "common/base/status_macros.h"
#include "common/model_file/prototxt.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/layers/builtin_layers.h"
#include "worker/layers/memory_data_layer.h"
#include "worker/net/host_view.h"
#include "worker/net/net.h"

namespace cssp {
namespace {

using testing::FloatNear;
using testing::Pointwise;
using Floats = std::vector<float>;

Floats Copied(absl::Span<const float> values) {
  return {values.begin(), values.end()};
}

class CudaNet : public testing::Test {
 protected:
  void SetUp() override {
    auto gpu = MakeCudaDevice(0);
    if (!gpu.ok()) GTEST_SKIP() << "no GPU: " << gpu.status().message();
    gpu_ = *std::move(gpu);
    ASSERT_TRUE(RegisterCpuLayers(layers_).ok());
    ASSERT_TRUE(RegisterCudaLayers(layers_).ok());
  }
  std::unique_ptr<Net> Make(const std::string& text, Device& device) {
    caffe::NetParameter param;
    EXPECT_EQ(ParseText(text, "net", &param), absl::OkStatus());
    NetOptions options;
    options.state.set_phase(caffe::TRAIN);
    options.log_creation = false;
    auto net = Net::Create(param, layers_, device, options);
    EXPECT_TRUE(net.ok()) << net.status();
    return net.ok() ? *std::move(net) : nullptr;
  }
  std::unique_ptr<Device> cpu_ = MakeCpuDevice(1);
  std::unique_ptr<Device> gpu_;
  LayerRegistry layers_;
};

const char kNeurons[] = R"(
  force_backward: true
  layer { name: 'in' type: 'Input' top: 'x'
          input_param { shape { dim: 37 dim: 1001 } } }
  layer { name: 'a' type: 'Sigmoid' bottom: 'x' top: 'a' }
  layer { name: 'b' type: 'Power' bottom: 'a' top: 'b'
          power_param { power: 3 scale: 2 shift: 0.5 } }
  layer { name: 'c' type: 'ReLU' bottom: 'b' top: 'b' }
  layer { name: 'd' type: 'Flatten' bottom: 'b' top: 'd' }
  layer { name: 'e' type: 'TanH' bottom: 'd' top: 'e' })";

TEST_F(CudaNet, ForwardAndBackwardAgreeWithTheCpu) {
  Floats out[2], gradient[2];
  for (int k = 0; k < 2; ++k) {
    auto net = Make(kNeurons, k == 0 ? *cpu_ : *gpu_);
    ASSERT_NE(net, nullptr);
    const auto x = net->blob("x")->mutable_data();
    for (size_t i = 0; i < x.size(); ++i)
      x[i] = 4 * static_cast<float>(i % 1999) / 1999 - 2;
    ASSERT_TRUE(net->Forward(StepState(), nullptr).ok());
    out[k] = Copied(net->blob("e")->data());
    const auto dy = net->blob("e")->mutable_diff();
    for (size_t i = 0; i < dy.size(); ++i) dy[i] = i % 7 - 3.f;
    ASSERT_TRUE(net->Backward(StepState()).ok());
    gradient[k] = Copied(net->blob("x")->diff());
  }
  EXPECT_THAT(out[1], Pointwise(FloatNear(1e-6f), out[0]));
  EXPECT_THAT(gradient[1], Pointwise(FloatNear(1e-4f), gradient[0]));
}

TEST_F(CudaNet, SourcesBringTheCpusBits) {
  Floats seen[2];
  for (int k = 0; k < 2; ++k) {
    auto net = Make(R"(
      layer { name: 'x' type: 'DummyData' top: 'x' top: 'y'
        dummy_data_param { shape { dim: 33 dim: 65 } shape { dim: 7 }
          data_filler { type: 'gaussian' std: 1 }
          data_filler { type: 'constant' value: 3 } } })",
                    k == 0 ? *cpu_ : *gpu_);
    ASSERT_NE(net, nullptr);
    StepState state;
    for (state.clock = 0; state.clock < 5; ++state.clock) {
      ASSERT_TRUE(net->Forward(state, nullptr).ok());
      for (const char* name : {"x", "y"}) {
        const auto data = net->blob(name)->data();
        seen[k].insert(seen[k].end(), data.begin(), data.end());
      }
    }
  }
  EXPECT_EQ(seen[0], seen[1]);
}

TEST_F(CudaNet, MemoryDataGoesRound) {
  auto net = Make(R"(
    layer { name: 'x' type: 'MemoryData' top: 'x' top: 'y'
      memory_data_param { batch_size: 2 channels: 1 height: 1 width: 2 } })",
                  *gpu_);
  ASSERT_NE(net, nullptr);
  auto* layer = dynamic_cast<MemoryDataLayer*>(&net->mutable_layer(0));
  ASSERT_NE(layer, nullptr);
  const Floats data = {1, 2, 3, 4, 5, 6, 7, 8}, labels = {0, 1, 2, 3};
  ASSERT_TRUE(layer->Reset(data, labels, 4).ok());
  for (int k = 0; k < 3; ++k) {
    ASSERT_TRUE(net->Forward(StepState(), nullptr).ok());
    const size_t at = k % 2 * 4;
    EXPECT_EQ(Copied(net->blob("x")->data()),
              Floats(data.begin() + at, data.begin() + at + 4));
    EXPECT_EQ(net->blob("y")->data()[0], labels[at / 2]);
  }
}

// What a Python layer does: top = 10 bottom, by the host.
class TenTimes final : public Layer {
 public:
  TenTimes(const caffe::LayerParameter& param, const LayerContext& context)
      : Layer(param, context.phase), device_(*context.device) {}
  absl::Status SetUp(absl::Span<const Shape>) override {
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override {
    return std::vector<Shape>{bottom[0]};
  }
  LayerTraits Traits() const override { return LayerTraits(); }
  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    return Multiply(step, args.bottom[0].raw, args.top[0]);
  }
  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    return Multiply(step, args.top_gradient[0].raw,
                    args.bottom_gradient[0].tensor);
  }

 private:
  absl::Status Multiply(StepContext& step, const void* from, Tensor to) {
    const HostPass pass{device_, step.stream(), nullptr};
    in_.Begin(pass, const_cast<void*>(from), to.desc->bytes());
    out_.Begin(pass, to.raw, to.desc->bytes());
    ASSIGN_OR_RETURN(const float* const x, in_.Floats());
    ASSIGN_OR_RETURN(float* const y, out_.Floats());
    for (int64_t i = 0; i < to.count(); ++i) y[i] = 10 * x[i];
    RETURN_IF_ERROR(in_.End());
    RETURN_IF_ERROR(out_.End());
    return step.stream().Synchronize();
  }

  Device& device_;
  HostView in_, out_;
};

TEST_F(CudaNet, ALayerOnTheHostSeesWhatKernelsWriteAndTheReverse) {
  for (const DeviceType type : {DeviceType::kCpu, DeviceType::kCuda}) {
    ASSERT_TRUE(layers_
                    .Register("TenTimes", type,
                              [](const caffe::LayerParameter& param,
                                 const LayerContext& context)
                                  -> absl::StatusOr<std::unique_ptr<Layer>> {
                                return std::make_unique<TenTimes>(param,
                                                                  context);
                              })
                    .ok());
  }
  auto net = Make(R"(
    force_backward: true
    layer { name: 'in' type: 'Input' top: 'x'
            input_param { shape { dim: 3 dim: 500 } } }
    layer { name: 'a' type: 'Power' bottom: 'x' top: 'a'
            power_param { scale: 2 } }
    layer { name: 'b' type: 'TenTimes' bottom: 'a' top: 'b' }
    layer { name: 'c' type: 'Power' bottom: 'b' top: 'c'
            power_param { shift: 1 } })",
                  *gpu_);
  ASSERT_NE(net, nullptr);
  for (int round = 1; round <= 3; ++round) {
    const auto x = net->blob("x")->mutable_data();
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * round);
    ASSERT_TRUE(net->Forward(StepState(), nullptr).ok());
    const auto c = net->blob("c")->data();
    for (size_t i = 0; i < c.size(); ++i)
      ASSERT_EQ(c[i], static_cast<float>(20 * i * round + 1));
    const auto dy = net->blob("c")->mutable_diff();
    std::fill(dy.begin(), dy.end(), static_cast<float>(round));
    ASSERT_TRUE(net->Backward(StepState()).ok());
    for (const float dx : net->blob("x")->diff()) ASSERT_EQ(dx, 20 * round);
  }
}

TEST_F(CudaNet, AFilterResizesWhatFollows) {
  const char text[] = R"(
    layer { name: 'x' type: 'Input' top: 'x'
            input_param { shape { dim: 6 dim: 2 dim: 9 dim: 9 } } }
    layer { name: 'l' type: 'Input' top: 'label' top: 'selector'
            input_param { shape { dim: 6 } shape { dim: 6 } } }
    layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c'
            convolution_param { num_output: 5 kernel_size: 3
                                weight_filler { type: 'xavier' } } }
    layer { name: 'f' type: 'Filter' bottom: 'c' bottom: 'label'
            bottom: 'selector' top: 'fc' top: 'fl' }
    layer { name: 'd' type: 'Convolution' bottom: 'fc' top: 'd'
            convolution_param { num_output: 4 kernel_size: 3 stride: 2
                                weight_filler { type: 'xavier' } } }
    layer { name: 'p' type: 'Pooling' bottom: 'd' top: 'p'
            pooling_param { global_pooling: true } }
    layer { name: 's' type: 'SoftmaxWithLoss' bottom: 'p' bottom: 'fl'
            top: 's' })";
  auto cpu = Make(text, *cpu_), gpu = Make(text, *gpu_);
  ASSERT_NE(cpu, nullptr);
  ASSERT_NE(gpu, nullptr);
  StepState state;
  for (const std::vector<int>& selected :
       {std::vector<int>{1, 2, 5}, {0}, {0, 1, 2, 3, 4, 5}, {}, {3, 4}}) {
    double loss[2];
    Floats gradient[2];
    for (int k = 0; k < 2; ++k) {
      Net& net = k == 0 ? *cpu : *gpu;
      const auto x = net.blob("x")->mutable_data();
      for (size_t i = 0; i < x.size(); ++i)
        x[i] = static_cast<float>(std::sin(0.37 * i));
      const auto label = net.blob("label")->mutable_data();
      for (size_t i = 0; i < label.size(); ++i) label[i] = i % 4;
      const auto selector = net.blob("selector")->mutable_data();
      std::fill(selector.begin(), selector.end(), 0.f);
      for (const int i : selected) selector[i] = 1;
      ASSERT_TRUE(net.ForwardBackward(state, true, &loss[k]).ok());
      gradient[k] = Copied(net.gradients(static_cast<int>(state.clock % 2)));
      EXPECT_EQ(net.blob("fl")->shape(),
                Shape({static_cast<int64_t>(selected.size())}));
    }
    EXPECT_NEAR(loss[1], loss[0], 1e-5);
    EXPECT_THAT(gradient[1], Pointwise(FloatNear(1e-5f), gradient[0]));
    ++state.clock;
  }
}

TEST_F(CudaNet, ALayerOfTheCpuAloneIsRefusedByName) {
  caffe::NetParameter param;
  ASSERT_EQ(
      ParseText("layer { name: 'm' type: 'MadeUp' top: 'x' }", "net", &param),
      absl::OkStatus());
  ASSERT_TRUE(layers_
                  .Register("MadeUp", DeviceType::kCpu,
                            [](auto&, auto&) {
                              return absl::StatusOr<std::unique_ptr<Layer>>(
                                  absl::InternalError("never made"));
                            })
                  .ok());
  NetOptions options;
  options.log_creation = false;
  const absl::Status status =
      Net::Create(param, layers_, *gpu_, options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()),
              testing::HasSubstr("does not run on CUDA, only on CPU"));
}

}  // namespace
}  // namespace cssp
