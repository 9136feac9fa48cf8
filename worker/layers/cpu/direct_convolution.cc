// Convolution as a sum of shifted rows: for each channel pair and kernel tap,
// whole rows of the last axis at once.  No matrix of windows is ever made.
#include <algorithm>
#include <utility>
#include <vector>

#include "worker/layers/cpu/convolution_kernel.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/cpu/window_rows.h"

namespace cssp::cpu {
namespace {

// Thread-confined: the training thread.
class DirectConvolution final : public ConvolutionKernel {
 public:
  explicit DirectConvolution(const ConvolutionProblem& problem)
      : s_(problem),
        rows_(problem.x, problem.y, problem.kernel, problem.stride, problem.pad,
              problem.dilation),
        taps_(rows_.taps()),
        bias_sums_(problem.bias ? problem.y_channels : 0) {}

  size_t scratch_bytes() const override { return 0; }

  void Forward(const float* x, const float* weight, const float* bias, float* y,
               void*) override {
    const int64_t planes = s_.items * s_.y_channels;
    const int64_t inputs = s_.x_channels / s_.group;
    const int64_t step = rows_.step();
#pragma omp parallel for schedule(static)
    for (int64_t plane = 0; plane < planes; ++plane) {
      const int64_t o = plane % s_.y_channels;
      float* out = y + plane * s_.y_positions();
      std::fill_n(out, s_.y_positions(), s_.bias ? bias[o] : 0.0f);
      for (int64_t c = 0; c < inputs; ++c) {
        const float* in = XPlane(x, plane / s_.y_channels, o, c);
        const float* w = weight + (o * inputs + c) * taps_;
        for (int64_t tap = 0; tap < taps_; ++tap) {
          const float factor = w[tap];
          rows_.ForEachRow(tap, [=](int64_t to, int64_t from, int64_t n) {
            for (int64_t i = 0; i < n; ++i) {
              out[to + i] += factor * in[from + i * step];
            }
          });
        }
      }
    }
  }

  void BackwardData(const float* dy, const float* weight, float* dx,
                    void*) override {
    const int64_t planes = s_.items * s_.x_channels;
    const int64_t inputs = s_.x_channels / s_.group;
    const int64_t outputs = s_.y_channels / s_.group;
    const int64_t step = rows_.step();
#pragma omp parallel for schedule(static)
    for (int64_t plane = 0; plane < planes; ++plane) {
      const int64_t item = plane / s_.x_channels;
      const int64_t channel = plane % s_.x_channels;
      const int64_t first = channel / inputs * outputs;
      float* out = dx + plane * s_.x_positions();
      std::fill_n(out, s_.x_positions(), 0.0f);
      for (int64_t o = first; o < first + outputs; ++o) {
        const float* in = dy + (item * s_.y_channels + o) * s_.y_positions();
        const float* w = weight + (o * inputs + channel % inputs) * taps_;
        for (int64_t tap = 0; tap < taps_; ++tap) {
          const float factor = w[tap];
          rows_.ForEachRow(tap, [=](int64_t from, int64_t to, int64_t n) {
            for (int64_t i = 0; i < n; ++i) {
              out[to + i * step] += factor * in[from + i];
            }
          });
        }
      }
    }
  }

  void BackwardWeights(const float* x, const float* dy,
                       const GradientTensor& weight, const GradientTensor& bias,
                       void*) override {
    if (weight.mode != GradientMode::kNone) {
      WeightGradient(x, dy, weight.mode == GradientMode::kAdd,
                     weight.tensor.data());
    }
    if (!s_.bias || bias.mode == GradientMode::kNone) return;
    const ChannelView view{s_.items, s_.y_channels, s_.y_positions(), 1,
                           s_.y_channels};
    float* sums = bias_sums_.data();
    SumChannels(view, sums, [=](int64_t i, int64_t) { return dy[i]; });
    Store(bias.mode, bias.tensor.data(), s_.y_channels,
          [=](int64_t o) { return sums[o]; });
  }

 private:
  // The plane of x that is input `c` of output channel `o`.
  const float* XPlane(const float* x, int64_t item, int64_t o,
                      int64_t c) const {
    const int64_t inputs = s_.x_channels / s_.group;
    const int64_t first = o / (s_.y_channels / s_.group) * inputs;
    return x + (item * s_.x_channels + first + c) * s_.x_positions();
  }

  // Rows are summed in float, rows among each other in double.
  void WeightGradient(const float* x, const float* dy, bool add, float* dw) {
    const int64_t inputs = s_.x_channels / s_.group;
    const int64_t step = rows_.step();
#pragma omp parallel for schedule(static)
    for (int64_t pair = 0; pair < s_.y_channels * inputs; ++pair) {
      const int64_t o = pair / inputs;
      for (int64_t tap = 0; tap < taps_; ++tap) {
        double sum = 0;
        for (int64_t item = 0; item < s_.items; ++item) {
          const float* in = XPlane(x, item, o, pair % inputs);
          const float* out = dy + (item * s_.y_channels + o) * s_.y_positions();
          rows_.ForEachRow(tap, [&](int64_t y_at, int64_t x_at, int64_t n) {
            float row = 0;
#pragma omp simd reduction(+ : row)
            for (int64_t i = 0; i < n; ++i) {
              row += out[y_at + i] * in[x_at + i * step];
            }
            sum += row;
          });
        }
        float& target = dw[pair * taps_ + tap];
        target = (add ? target : 0.0f) + static_cast<float>(sum);
      }
    }
  }

  const ConvolutionProblem s_;
  const WindowRows rows_;
  const int64_t taps_;
  std::vector<float> bias_sums_;
};

}  // namespace

std::unique_ptr<ConvolutionKernel> MakeDirectConvolution(
    const ConvolutionProblem& problem) {
  return std::make_unique<DirectConvolution>(problem);
}

}  // namespace cssp::cpu
