// The functions of the neuron layers, their derivatives and parameters: what is
// the same on every device.  A function is a value: made from the prototxt,
// copied into kernels.
#ifndef CSSP_WORKER_LAYERS_NEURON_FUNCTIONS_H_
#define CSSP_WORKER_LAYERS_NEURON_FUNCTIONS_H_

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "common/device/device_function.h"
#include "proto/caffe.pb.h"
#include "worker/layers/neuron_layer.h"

namespace cssp {

// Each has
//   absl::Status Read(const caffe::LayerParameter&)
//   NeuronTraits traits() const
//   float Value(float x) const                    f(x)
//   float Slope(float x, float y) const           f'(x); x or y may be junk if
//                                                 traits() does not name it

// x > 0 ? x : slope * x.
struct ReluFunction {
  float slope = 0;
  absl::Status Read(const caffe::LayerParameter& p) {
    slope = p.relu_param().negative_slope();
    return absl::OkStatus();
  }
  // The sign of y is that of x unless the slope is negative.
  NeuronTraits traits() const {
    return {.reads_bottom = slope < 0,
            .reads_top = slope >= 0,
            .in_caffe = {.reads_bottom_instead = true,
                         .reads_signs_only = true,
                         .keeps_signs = slope >= 0}};
  }
  CSSP_DEVICE_FUNCTION float Value(float x) const {
    return x > 0 ? x : slope * x;
  }
  CSSP_DEVICE_FUNCTION float Slope(float x, float y) const {
    return (slope < 0 ? x : y) > 0 ? 1.0f : slope;
  }
};

// min(max(x, 0), 6).
struct Relu6Function {
  absl::Status Read(const caffe::LayerParameter&) { return absl::OkStatus(); }
  NeuronTraits traits() const {
    return {.reads_top = true,
            .in_caffe = {.reads_bottom_instead = true, .keeps_signs = true}};
  }
  CSSP_DEVICE_FUNCTION float Value(float x) const {
    return std::min(std::max(x, 0.0f), 6.0f);
  }
  CSSP_DEVICE_FUNCTION float Slope(float, float y) const {
    return y > 0 && y < 6 ? 1.0f : 0.0f;
  }
};

struct TanhFunction {
  absl::Status Read(const caffe::LayerParameter&) { return absl::OkStatus(); }
  NeuronTraits traits() const { return {.reads_top = true}; }
  CSSP_DEVICE_FUNCTION float Value(float x) const { return std::tanh(x); }
  CSSP_DEVICE_FUNCTION float Slope(float, float y) const { return 1 - y * y; }
};

// 1 / (1 + e^-x), by tanh: no overflow.
struct SigmoidFunction {
  absl::Status Read(const caffe::LayerParameter&) { return absl::OkStatus(); }
  NeuronTraits traits() const {
    return {.reads_top = true, .keeps_zero = false};
  }
  CSSP_DEVICE_FUNCTION float Value(float x) const {
    return 0.5f * std::tanh(0.5f * x) + 0.5f;
  }
  CSSP_DEVICE_FUNCTION float Slope(float, float y) const { return y * (1 - y); }
};

struct AbsFunction {
  absl::Status Read(const caffe::LayerParameter&) { return absl::OkStatus(); }
  NeuronTraits traits() const { return {.reads_bottom = true}; }
  CSSP_DEVICE_FUNCTION float Value(float x) const { return std::fabs(x); }
  CSSP_DEVICE_FUNCTION float Slope(float x, float) const {
    return static_cast<float>(x > 0) - static_cast<float>(x < 0);
  }
};

// (shift + scale * x)^power.
struct PowerFunction {
  float power = 1, scale = 1, shift = 0;
  absl::Status Read(const caffe::LayerParameter& p) {
    power = p.power_param().power();
    scale = p.power_param().scale();
    shift = p.power_param().shift();
    return absl::OkStatus();
  }
  NeuronTraits traits() const {
    return {.reads_bottom = power != 1, .keeps_zero = shift == 0 && power > 0};
  }
  CSSP_DEVICE_FUNCTION float Value(float x) const {
    const float base = shift + scale * x;
    return power == 1 ? base : power == 2 ? base * base : std::pow(base, power);
  }
  CSSP_DEVICE_FUNCTION float Slope(float x, float) const {
    if (power == 1) return scale;
    if (power == 0) return 0;
    const float base = shift + scale * x;
    return power * scale * (power == 2 ? base : std::pow(base, power - 1));
  }
};

// base^(shift + scale * x); base -1 stands for e.
struct ExpFunction {
  float inner_scale = 1, outer_scale = 1;
  absl::Status Read(const caffe::LayerParameter& p) {
    const caffe::ExpParameter& e = p.exp_param();
    if (e.base() != -1 && !(e.base() > 0)) {
      return absl::InvalidArgumentError(
          "exp_param.base must be > 0, or -1 for e");
    }
    const float log_base = e.base() == -1 ? 1 : std::log(e.base());
    inner_scale = log_base * e.scale();
    outer_scale = std::exp(log_base * e.shift());
    return absl::OkStatus();
  }
  NeuronTraits traits() const {
    return {.reads_top = true, .keeps_zero = false};
  }
  CSSP_DEVICE_FUNCTION float Value(float x) const {
    return outer_scale * std::exp(inner_scale * x);
  }
  CSSP_DEVICE_FUNCTION float Slope(float, float y) const {
    return inner_scale * y;
  }
};

// log(shift + scale * x) to `base`; base -1 stands for e.
struct LogFunction {
  float input_scale = 1, input_shift = 0, base_scale = 1;
  absl::Status Read(const caffe::LayerParameter& p) {
    const caffe::LogParameter& l = p.log_param();
    if (l.base() != -1 && (!(l.base() > 0) || l.base() == 1)) {
      return absl::InvalidArgumentError(
          "log_param.base must be > 0 and not 1, or -1 for e");
    }
    base_scale = l.base() == -1 ? 1 : 1 / std::log(l.base());
    input_scale = l.scale();
    input_shift = l.shift();
    return absl::OkStatus();
  }
  NeuronTraits traits() const {
    return {.reads_bottom = true, .keeps_zero = false};
  }
  CSSP_DEVICE_FUNCTION float Value(float x) const {
    return base_scale * std::log(input_shift + input_scale * x);
  }
  CSSP_DEVICE_FUNCTION float Slope(float x, float) const {
    return base_scale * input_scale / (input_shift + input_scale * x);
  }
};

// log(1 + e^x).
struct BnllFunction {
  absl::Status Read(const caffe::LayerParameter&) { return absl::OkStatus(); }
  NeuronTraits traits() const {
    return {.reads_bottom = true, .keeps_zero = false};
  }
  CSSP_DEVICE_FUNCTION float Value(float x) const {
    return std::max(x, 0.0f) + std::log1p(std::exp(-std::fabs(x)));
  }
  CSSP_DEVICE_FUNCTION float Slope(float x, float) const {
    return 0.5f * std::tanh(0.5f * x) + 0.5f;
  }
};

// x > 0 ? x : alpha * (e^x - 1).
struct EluFunction {
  float alpha = 1;
  absl::Status Read(const caffe::LayerParameter& p) {
    alpha = p.elu_param().alpha();
    return absl::OkStatus();
  }
  // With alpha >= 0 the top alone tells both branches apart.
  NeuronTraits traits() const {
    return {.reads_bottom = alpha < 0, .reads_top = true};
  }
  CSSP_DEVICE_FUNCTION float Value(float x) const {
    return x > 0 ? x : alpha * (std::exp(x) - 1);
  }
  CSSP_DEVICE_FUNCTION float Slope(float x, float y) const {
    return (alpha < 0 ? x : y) > 0 ? 1.0f : y + alpha;
  }
};

// x * sigmoid(beta * x).
struct SwishFunction {
  float beta = 1;
  absl::Status Read(const caffe::LayerParameter& p) {
    beta = p.swish_param().beta();
    return absl::OkStatus();
  }
  NeuronTraits traits() const {
    return {.reads_bottom = true, .in_caffe = {.keeps_copies = true}};
  }
  CSSP_DEVICE_FUNCTION float Gate(float x) const {
    return SigmoidFunction().Value(beta * x);
  }
  CSSP_DEVICE_FUNCTION float Value(float x) const { return x * Gate(x); }
  CSSP_DEVICE_FUNCTION float Slope(float x, float) const {
    const float gate = Gate(x);
    return gate + beta * x * gate * (1 - gate);
  }
};

// min and max must be given; no gradient where x was clamped.
struct ClipFunction {
  float low = 0, high = 0;
  absl::Status Read(const caffe::LayerParameter& p) {
    if (!p.has_clip_param()) {
      return absl::InvalidArgumentError("clip_param must give min and max");
    }
    low = p.clip_param().min();
    high = p.clip_param().max();
    if (!(low <= high)) {
      return absl::InvalidArgumentError("clip_param.min must be <= max");
    }
    return absl::OkStatus();
  }
  NeuronTraits traits() const {
    return {.reads_bottom = true, .keeps_zero = low <= 0 && high >= 0};
  }
  CSSP_DEVICE_FUNCTION float Value(float x) const {
    return std::max(low, std::min(x, high));
  }
  CSSP_DEVICE_FUNCTION float Slope(float x, float) const {
    return x >= low && x <= high ? 1 : 0;
  }
};

// x > threshold ? 1 : 0.
struct ThresholdFunction {
  float threshold = 0;
  absl::Status Read(const caffe::LayerParameter& p) {
    threshold = p.threshold_param().threshold();
    return absl::OkStatus();
  }
  NeuronTraits traits() const {
    return {.keeps_zero = threshold >= 0, .has_backward = false};
  }
  CSSP_DEVICE_FUNCTION float Value(float x) const {
    return x > threshold ? 1 : 0;
  }
  CSSP_DEVICE_FUNCTION float Slope(float, float) const { return 0; }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_NEURON_FUNCTIONS_H_
