#include "test_layers.h"

#include <algorithm>
#include <cmath>

#include "common/base/logging.h"

namespace cssp::testing {
namespace {

// A gradient's element under the mode that the plan asked for.
void Put(const GradientTensor& gradient, int64_t i, float value) {
  if (gradient.mode == GradientMode::kNone) return;
  float& to = gradient.tensor.data()[i];
  to = gradient.mode == GradientMode::kAdd ? to + value : value;
}

template <class L>
void Add(LayerRegistry& registry, const char* type, Trace* trace) {
  CHECK(registry
            .Register(type, DeviceType::kCpu,
                      [trace](const caffe::LayerParameter& param,
                              const LayerContext& context)
                          -> absl::StatusOr<std::unique_ptr<Layer>> {
                        return std::make_unique<L>(param, context.phase, trace);
                      })
            .ok());
}

}  // namespace

absl::Status TestInnerProduct::Forward(StepContext& step,
                                       const ForwardArgs& a) {
  Note("forward");
  const int64_t items = a.bottom[0].shape().dim(0);
  const int64_t n = a.param[0].shape().dim(1), m = a.param[0].shape().dim(0);
  for (int64_t k = 0; k < items; ++k) {
    for (int64_t i = 0; i < m; ++i) {
      float sum = a.param.size() > 1 ? a.param[1].data()[i] : 0;
      for (int64_t j = 0; j < n; ++j)
        sum += a.param[0].data()[i * n + j] * a.bottom[0].data()[k * n + j];
      a.top[0].data()[k * m + i] = sum;
    }
  }
  return absl::OkStatus();
}

absl::Status TestInnerProduct::Backward(StepContext& step,
                                        const BackwardArgs& a) {
  Note("backward");
  const int64_t items = a.bottom[0].shape().dim(0);
  const int64_t n = a.param[0].shape().dim(1), m = a.param[0].shape().dim(0);
  const float* dy = a.top_gradient[0].data();
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      float sum = 0;
      for (int64_t k = 0; k < items; ++k)
        sum += dy[k * m + i] * a.bottom[0].data()[k * n + j];
      Put(a.param_gradient[0], i * n + j, sum);
    }
    float sum = 0;
    for (int64_t k = 0; k < items; ++k) sum += dy[k * m + i];
    if (a.param.size() > 1) Put(a.param_gradient[1], i, sum);
  }
  for (int64_t k = 0; k < items; ++k) {
    for (int64_t j = 0; j < n; ++j) {
      float sum = 0;
      for (int64_t i = 0; i < m; ++i)
        sum += dy[k * m + i] * a.param[0].data()[i * n + j];
      Put(a.bottom_gradient[0], k * n + j, sum);
    }
  }
  return absl::OkStatus();
}

absl::Status TestReLU::Forward(StepContext& step, const ForwardArgs& a) {
  Note("forward");
  for (int64_t i = 0; i < a.top[0].desc->stored_count(); ++i)
    a.top[0].data()[i] = std::max(a.bottom[0].data()[i], 0.f);
  return absl::OkStatus();
}

absl::Status TestReLU::Backward(StepContext& step, const BackwardArgs& a) {
  Note("backward");
  for (int64_t i = 0; i < a.top[0].desc->stored_count(); ++i)
    Put(a.bottom_gradient[0], i,
        a.top[0].data()[i] > 0 ? a.top_gradient[0].data()[i] : 0.f);
  return absl::OkStatus();
}

absl::Status TestSquare::Forward(StepContext& step, const ForwardArgs& a) {
  for (int64_t i = 0; i < a.top[0].count(); ++i)
    a.top[0].data()[i] = a.bottom[0].data()[i] * a.bottom[0].data()[i];
  return absl::OkStatus();
}

absl::Status TestSquare::Backward(StepContext& step, const BackwardArgs& a) {
  for (int64_t i = 0; i < a.top[0].count(); ++i)
    Put(a.bottom_gradient[0], i,
        2 * a.bottom[0].data()[i] * a.top_gradient[0].data()[i]);
  return absl::OkStatus();
}

absl::Status TestBlockedDouble::Forward(StepContext& step,
                                        const ForwardArgs& a) {
  CHECK(a.bottom[0].desc->format == Format::kBlocked8);
  CHECK(a.top[0].desc->format == Format::kBlocked8);
  for (int64_t i = 0; i < a.top[0].desc->stored_count(); ++i)
    a.top[0].data()[i] = 2 * a.bottom[0].data()[i];
  return absl::OkStatus();
}

absl::Status TestBlockedDouble::Backward(StepContext& step,
                                         const BackwardArgs& a) {
  CHECK(a.top_gradient[0].desc->format == Format::kBlocked8);
  for (int64_t i = 0; i < a.top[0].desc->stored_count(); ++i)
    Put(a.bottom_gradient[0], i, 2 * a.top_gradient[0].data()[i]);
  return absl::OkStatus();
}

absl::Status TestLoss::Forward(StepContext& step, const ForwardArgs& a) {
  Note("forward");
  double sum = 0;
  for (const ConstTensor& bottom : a.bottom) {
    for (int64_t i = 0; i < bottom.count(); ++i)
      sum += 0.5 * bottom.data()[i] * bottom.data()[i];
  }
  a.top[0].data()[0] = static_cast<float>(sum);
  return absl::OkStatus();
}

absl::Status TestLoss::Backward(StepContext& step, const BackwardArgs& a) {
  Note("backward");
  const float weight = a.top_gradient[0].data()[0];
  for (size_t b = 0; b < a.bottom.size(); ++b) {
    for (int64_t i = 0; i < a.bottom[b].count(); ++i)
      Put(a.bottom_gradient[b], i, weight * a.bottom[b].data()[i]);
  }
  return absl::OkStatus();
}

absl::Status TestCount::Forward(StepContext& step, const ForwardArgs& a) {
  a.top[0].data()[0] = static_cast<float>(a.bottom[0].count());
  return absl::OkStatus();
}

absl::Status TestStatistic::Forward(StepContext& step, const ForwardArgs& a) {
  float sum = 0;
  for (int64_t i = 0; i < a.top[0].count(); ++i) {
    sum += a.bottom[0].data()[i];
    a.top[0].data()[i] = a.bottom[0].data()[i];
  }
  Put(a.param_gradient[0], 0, sum / a.top[0].count());
  return absl::OkStatus();
}

absl::Status TestStatistic::Backward(StepContext& step,
                                     const BackwardArgs& a) {
  CHECK(a.param_gradient[0].mode == GradientMode::kNone);
  for (int64_t i = 0; i < a.top[0].count(); ++i)
    Put(a.bottom_gradient[0], i, a.top_gradient[0].data()[i]);
  return absl::OkStatus();
}

absl::Status TestHead::Forward(StepContext& step, const ForwardArgs& a) {
  shapes_[0].set_dim(0, a.bottom[0].shape().dim(0) - 1);
  for (int64_t i = 0; i < shapes_[0].count(); ++i)
    a.top[0].data()[i] = a.bottom[0].data()[i];
  return absl::OkStatus();
}

absl::Status TestHead::Backward(StepContext& step, const BackwardArgs& a) {
  for (int64_t i = 0; i < a.bottom_gradient[0].tensor.count(); ++i)
    Put(a.bottom_gradient[0], i,
        i < shapes_[0].count() ? a.top_gradient[0].data()[i] : 0);
  return absl::OkStatus();
}

absl::Status TestSplit::Backward(StepContext& step, const BackwardArgs& a) {
  CHECK(a.bottom_gradient[0].mode == GradientMode::kWrite);
  for (int64_t i = 0; i < a.bottom_gradient[0].tensor.desc->stored_count();
       ++i) {
    float sum = 0;
    for (const ConstTensor& dy : a.top_gradient) {
      if (dy.raw != nullptr) sum += dy.data()[i];
    }
    Put(a.bottom_gradient[0], i, sum);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Shape>> TestReshape::InferShapes(
    absl::Span<const Shape>) const {
  const auto& dims = layer_param().reshape_param().shape().dim();
  auto shape = Shape::Create(absl::MakeConstSpan(dims.data(), dims.size()));
  if (!shape.ok()) return shape.status();
  return std::vector<Shape>{*shape};
}

absl::StatusOr<std::vector<Shape>> TestInput::InferShapes(
    absl::Span<const Shape>) const {
  std::vector<Shape> shapes;
  for (const caffe::BlobShape& shape : layer_param().input_param().shape()) {
    auto made = Shape::Create(
        absl::MakeConstSpan(shape.dim().data(), shape.dim_size()));
    if (!made.ok()) return made.status();
    shapes.push_back(*made);
  }
  return shapes;
}

LayerRegistry TestRegistry(Trace* trace) {
  LayerRegistry registry;
  Add<TestInput>(registry, "Input", trace);
  Add<TestInnerProduct>(registry, "InnerProduct", trace);
  Add<TestReLU>(registry, "ReLU", trace);
  Add<TestSquare>(registry, "Power", trace);
  Add<TestBlockedDouble>(registry, "BlockedDouble", trace);
  Add<TestLoss>(registry, "EuclideanLoss", trace);
  Add<TestCount>(registry, "Accuracy", trace);
  Add<TestStatistic>(registry, "Statistic", trace);
  Add<TestFlatten>(registry, "Flatten", trace);
  Add<TestReshape>(registry, "Reshape", trace);
  Add<TestHead>(registry, "Head", trace);
  Add<TestSplit>(registry, "Split", trace);
  return registry;
}

caffe::NetParameter ParseNet(const std::string& text) {
  caffe::NetParameter net;
  CHECK(google::protobuf::TextFormat::ParseFromString(text, &net)) << text;
  return net;
}

NetOptions TrainOptions() {
  NetOptions options;
  options.state.set_phase(caffe::TRAIN);
  options.source_name = "net.prototxt";
  options.log_creation = false;
  return options;
}

std::unique_ptr<Net> MakeNet(const std::string& text, Device& device,
                             NetOptions options, Trace* trace) {
  const LayerRegistry registry = TestRegistry(trace);
  auto net = Net::Create(ParseNet(text), registry, device, options);
  EXPECT_TRUE(net.ok()) << net.status();
  return net.ok() ? *std::move(net) : nullptr;
}

void FillRamp(absl::Span<float> values, float scale) {
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = scale * static_cast<float>(std::sin(1.7 * (i + 1)));
}

void ExpectNumericGradient(Net& net, float step, float tolerance) {
  StepState state;
  double loss = 0;
  ASSERT_TRUE(net.ForwardBackward(state, true, &loss).ok());
  const std::vector<float> gradient(net.gradients(0).begin(),
                                    net.gradients(0).end());
  for (const NetParam& param : net.params()) {
    if (param.kind == ParamKind::kStatistic) continue;  // not a derivative
    for (int64_t i = param.offset; i < param.offset + param.shape.count();
         ++i) {
      float& weight = net.weights()[i];
      const float kept = weight;
      double up = 0, down = 0;
      weight = kept + step;
      net.WeightsChanged();
      ASSERT_TRUE(net.Forward(state, &up).ok());
      weight = kept - step;
      net.WeightsChanged();
      ASSERT_TRUE(net.Forward(state, &down).ok());
      weight = kept;
      const double numeric = (up - down) / (2 * step);
      EXPECT_NEAR(gradient[i], numeric,
                  tolerance * std::max(1.0, std::abs(numeric)))
          << param.key << "[" << i - param.offset << "]";
    }
  }
  net.WeightsChanged();
}

}  // namespace cssp::testing
