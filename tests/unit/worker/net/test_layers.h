// Small layers with known formulas, for tests of the net alone.
#ifndef CSSP_TESTS_UNIT_WORKER_NET_TEST_LAYERS_H_
#define CSSP_TESTS_UNIT_WORKER_NET_TEST_LAYERS_H_

#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "worker/net/net.h"

namespace cssp::testing {

// What layers did, in order: "forward ip", "params ip", ...
using Trace = std::vector<std::string>;

class TestLayer : public Layer {
 public:
  TestLayer(caffe::LayerParameter param, caffe::Phase phase, Trace* trace)
      : Layer(std::move(param), phase), trace_(trace) {}
  absl::Status SetUp(absl::Span<const Shape>) override {
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override {
    return std::vector<Shape>(1, bottom[0]);
  }
  LayerTraits Traits() const override { return LayerTraits(); }
  void ParamsChanged() override { Note("params"); }

 protected:
  void Note(const char* what) {
    if (trace_) trace_->push_back(std::string(what) + " " + name());
  }

 private:
  Trace* trace_;
};

// y_i = sum_j w_ij x_j + b_i over the last axis; params w (num_output x n), b.
class TestInnerProduct : public TestLayer {
 public:
  using TestLayer::TestLayer;
  absl::Status SetUp(absl::Span<const Shape> bottom) override {
    const auto& p = layer_param().inner_product_param();
    if (p.num_output() == 0)
      return absl::InvalidArgumentError("num_output must be > 0");
    DeclareParam({Shape{p.num_output(), bottom[0].count_from(1)},
                  p.weight_filler()});
    if (p.bias_term()) DeclareParam({Shape{p.num_output()}, p.bias_filler()});
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override {
    const int64_t n = layer_param().inner_product_param().num_output();
    return std::vector<Shape>{Shape{bottom[0].dim(0), n}};
  }
  LayerTraits Traits() const override {
    LayerTraits traits;
    traits.backward_reads_bottom = 1;
    traits.backward_reads_top = 0;
    traits.scratch_bytes = 64;
    return traits;
  }
  absl::Status Forward(StepContext& step, const ForwardArgs& a) override;
  absl::Status Backward(StepContext& step, const BackwardArgs& a) override;
};

// y = max(x, 0); backward reads the top.
class TestReLU : public TestLayer {
 public:
  using TestLayer::TestLayer;
  LayerTraits Traits() const override {
    LayerTraits traits;
    traits.backward_reads_bottom = 0;
    traits.backward_reads_top = 1;
    traits.in_place = true;
    traits.in_caffe.reads_bottom_instead = true;
    traits.in_caffe.reads_signs_only = true;
    traits.in_caffe.keeps_signs = true;
    return traits;
  }
  FormatChoice ChooseFormats(absl::Span<const TensorDesc> bottom,
                             absl::Span<const Shape>) const override {
    return {{bottom[0].format}, {bottom[0].format}};
  }
  absl::Status Forward(StepContext& step, const ForwardArgs& a) override;
  absl::Status Backward(StepContext& step, const BackwardArgs& a) override;
};

// y = x^2; backward reads the bottom.
class TestSquare : public TestLayer {
 public:
  using TestLayer::TestLayer;
  LayerTraits Traits() const override {
    LayerTraits traits;
    traits.backward_reads_bottom = 1;
    traits.backward_reads_top = 0;
    traits.in_place = true;
    return traits;
  }
  absl::Status Forward(StepContext& step, const ForwardArgs& a) override;
  absl::Status Backward(StepContext& step, const BackwardArgs& a) override;
};

// y = 2 x on blocks of 8 channels, whatever its bottom comes in.
class TestBlockedDouble : public TestLayer {
 public:
  using TestLayer::TestLayer;
  LayerTraits Traits() const override {
    LayerTraits traits;
    traits.backward_reads_bottom = traits.backward_reads_top = 0;
    return traits;
  }
  FormatChoice ChooseFormats(absl::Span<const TensorDesc>,
                             absl::Span<const Shape>) const override {
    return {{Format::kBlocked8}, {Format::kBlocked8}};
  }
  absl::Status Forward(StepContext& step, const ForwardArgs& a) override;
  absl::Status Backward(StepContext& step, const BackwardArgs& a) override;
};

// loss = 1/2 sum x^2 over all bottoms.
class TestLoss : public TestLayer {
 public:
  using TestLayer::TestLayer;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape>) const override {
    return std::vector<Shape>{Shape{}};
  }
  LayerTraits Traits() const override {
    LayerTraits traits;
    traits.backward_reads_top = 0;
    return traits;
  }
  bool is_loss() const override { return true; }
  int max_bottoms() const override { return -1; }
  absl::Status Forward(StepContext& step, const ForwardArgs& a) override;
  absl::Status Backward(StepContext& step, const BackwardArgs& a) override;
};

// Counts what it sees: a top, no gradient (an Accuracy).
class TestCount : public TestLayer {
 public:
  using TestLayer::TestLayer;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape>) const override {
    return std::vector<Shape>{Shape{}};
  }
  LayerTraits Traits() const override {
    LayerTraits traits;
    traits.has_backward = false;
    return traits;
  }
  absl::Status Forward(StepContext& step, const ForwardArgs& a) override;
  absl::Status Backward(StepContext&, const BackwardArgs&) override {
    return absl::InternalError("has no backward");
  }
};

// y = x; a TRAIN forward leaves the mean of x as the clock's statistic.
class TestStatistic : public TestLayer {
 public:
  using TestLayer::TestLayer;
  absl::Status SetUp(absl::Span<const Shape>) override {
    DeclareParam({Shape{1}, {}, ParamKind::kStatistic, 0.9f});
    return absl::OkStatus();
  }
  absl::Status Forward(StepContext& step, const ForwardArgs& a) override;
  absl::Status Backward(StepContext& step, const BackwardArgs& a) override;
};

// (n, c, h, w) seen as (n, c*h*w): never runs.
class TestFlatten : public TestLayer {
 public:
  using TestLayer::TestLayer;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override {
    return std::vector<Shape>{
        Shape{bottom[0].dim(0), bottom[0].count_from(1)}};
  }
  LayerTraits Traits() const override {
    LayerTraits traits;
    traits.is_view = true;
    return traits;
  }
  absl::Status Forward(StepContext&, const ForwardArgs&) override {
    return absl::InternalError("a view ran");
  }
  absl::Status Backward(StepContext&, const BackwardArgs&) override {
    return absl::InternalError("a view ran");
  }
};

// As Flatten, to reshape_param.shape.
class TestReshape : public TestFlatten {
 public:
  using TestFlatten::TestFlatten;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
};

// All items but the last, which it finds out in Forward only.
class TestHead : public TestLayer {
 public:
  using TestLayer::TestLayer;
  LayerTraits Traits() const override {
    LayerTraits traits;
    traits.backward_reads_bottom = traits.backward_reads_top = 0;
    traits.data_dependent_shape = true;
    return traits;
  }
  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc>) override {
    shapes_ = {bottom[0].shape};
    return absl::OkStatus();
  }
  absl::Span<const Shape> ForwardShapes() override { return shapes_; }
  absl::Status Forward(StepContext& step, const ForwardArgs& a) override;
  absl::Status Backward(StepContext& step, const BackwardArgs& a) override;

 private:
  std::vector<Shape> shapes_;
};

class TestSplit : public TestLayer {
 public:
  using TestLayer::TestLayer;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override {
    return std::vector<Shape>(layer_param().top_size(), bottom[0]);
  }
  LayerTraits Traits() const override {
    LayerTraits traits;
    traits.backward_reads_bottom = traits.backward_reads_top = 0;
    traits.shares_data = true;
    return traits;
  }
  int max_tops() const override { return -1; }
  absl::Status Forward(StepContext&, const ForwardArgs&) override {
    return absl::InternalError("split data is shared");
  }
  absl::Status Backward(StepContext& step, const BackwardArgs& a) override;
};

// Shape by input_param; the user writes the top.
class TestInput : public TestLayer {
 public:
  using TestLayer::TestLayer;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape>) const override;
  LayerTraits Traits() const override {
    LayerTraits traits;
    traits.is_source = true;
    traits.has_backward = false;
    return traits;
  }
  int min_bottoms() const override { return 0; }
  int max_bottoms() const override { return 0; }
  int max_tops() const override { return -1; }
  absl::Status Forward(StepContext&, const ForwardArgs&) override {
    return absl::OkStatus();
  }
  absl::Status Backward(StepContext&, const BackwardArgs&) override {
    return absl::OkStatus();
  }
};

// All of the above under their names without "Test" (TestCount: "Accuracy",
// TestLoss: "EuclideanLoss", TestSquare: "Power").
LayerRegistry TestRegistry(Trace* trace = nullptr);

caffe::NetParameter ParseNet(const std::string& text);

NetOptions TrainOptions();

// Fails the test on error.
std::unique_ptr<Net> MakeNet(const std::string& text, Device& device,
                             NetOptions options = TrainOptions(),
                             Trace* trace = nullptr);

// Values 0.1, -0.2, 0.3, ... that are no round numbers' multiples.
void FillRamp(absl::Span<float> values, float scale);

// Compares gradients(0) after one clock at pass 0 against central differences.
void ExpectNumericGradient(Net& net, float step = 1e-2f,
                           float tolerance = 2e-2f);

}  // namespace cssp::testing

#endif  // CSSP_TESTS_UNIT_WORKER_NET_TEST_LAYERS_H_
