#include <algorithm>
#include <vector>

#include "common/base/status_macros.h"
#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/interp_layer.h"

namespace cssp::cpu {
namespace {

// Calls body(n) for every map of N x C.
template <class Body>
void ForEachMap(int64_t maps, int64_t size, Body body) {
#pragma omp parallel for schedule(static) if (maps * size >= kParallelElements)
  for (int64_t n = 0; n < maps; ++n) body(n);
}

// Thread-confined: the training thread.
class InterpLayerCpu final : public InterpLayer {
 public:
  using InterpLayer::InterpLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    const Shape& shape = bottom[0].shape;
    RETURN_IF_ERROR(MakeTaps(shape, 2, &rows_));
    RETURN_IF_ERROR(MakeTaps(shape, 3, &columns_));
    maps_ = shape.count(0, 2);
    in_size_ = shape.count_from(2);
    width_ = shape.dim(3);
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    ForEachMap(maps_, out_size(), [&](int64_t n) {
      const float* x = args.bottom[0].data() + n * in_size_;
      float* y = args.top[0].data() + n * out_size();
      for (const InterpTap& row : rows_) {
        const float* upper = x + row.first * width_;
        const float* lower = x + row.second * width_;
        for (const InterpTap& c : columns_) {
          *y++ = (1 - row.share) * Between(c, upper) +
                 row.share * Between(c, lower);
        }
      }
    });
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    if (gradient.mode == GradientMode::kNone) return absl::OkStatus();
    ForEachMap(maps_, out_size(), [&](int64_t n) {
      float* dx = gradient.tensor.data() + n * in_size_;
      const float* dy = args.top_gradient[0].data() + n * out_size();
      if (gradient.mode == GradientMode::kWrite) {
        std::fill_n(dx, in_size_, 0.0f);
      }
      for (const InterpTap& row : rows_) {
        for (const InterpTap& c : columns_) {
          const float d = *dy++;
          AddBetween(c, (1 - row.share) * d, dx + row.first * width_);
          AddBetween(c, row.share * d, dx + row.second * width_);
        }
      }
    });
    return absl::OkStatus();
  }

 private:
  absl::Status MakeTaps(const Shape& bottom, int axis,
                        std::vector<InterpTap>* taps) const {
    ASSIGN_OR_RETURN(const InterpAxis line, AxisOf(bottom, axis));
    taps->clear();
    for (int64_t i = 0; i < line.out; ++i) taps->push_back(line.Tap(i));
    return absl::OkStatus();
  }
  static float Between(const InterpTap& c, const float* row) {
    return (1 - c.share) * row[c.first] + c.share * row[c.second];
  }
  static void AddBetween(const InterpTap& c, float d, float* row) {
    row[c.first] += (1 - c.share) * d;
    row[c.second] += c.share * d;
  }
  int64_t out_size() const {
    return static_cast<int64_t>(rows_.size() * columns_.size());
  }

  std::vector<InterpTap> rows_, columns_;
  int64_t maps_ = 0, in_size_ = 0, width_ = 0;
};

// Thread-confined: the training thread.
class UpsampleLayerCpu final : public UpsampleLayer {
 public:
  using UpsampleLayer::UpsampleLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    height_ = bottom[0].shape.dim(2);
    width_ = bottom[0].shape.dim(3);
    maps_ = bottom[0].shape.count(0, 2);
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const int64_t s = scale(), wide = width_ * s;
    ForEachMap(maps_, height_ * s * wide, [&](int64_t n) {
      const float* x = args.bottom[0].data() + n * height_ * width_;
      float* y = args.top[0].data() + n * height_ * s * wide;
      for (int64_t row = 0; row < height_ * s; ++row) {
        for (int64_t c = 0; c < wide; ++c) {
          y[row * wide + c] = x[row / s * width_ + c / s];
        }
      }
    });
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    const float* dy = args.top_gradient[0].data();
    const int64_t s = scale(), width = width_, wide = width_ * s;
    Store(gradient.mode, gradient.tensor.data(), maps_ * height_ * width,
          [=](int64_t i) {
            const float* corner = dy + i / width * s * wide + i % width * s;
            float sum = 0;
            for (int64_t row = 0; row < s; ++row) {
              for (int64_t c = 0; c < s; ++c) sum += corner[row * wide + c];
            }
            return sum;
          });
    return absl::OkStatus();
  }

 private:
  int64_t maps_ = 0, height_ = 0, width_ = 0;
};

}  // namespace

absl::Status RegisterInterp(LayerRegistry& registry) {
  RETURN_IF_ERROR(
      registry.Register("Interp", DeviceType::kCpu, MakeLayer<InterpLayerCpu>));
  return registry.Register("Upsample", DeviceType::kCpu,
                           MakeLayer<UpsampleLayerCpu>);
}

}  // namespace cssp::cpu
