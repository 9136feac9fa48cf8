#include "common/base/status_macros.h"
#include "worker/layers/concat_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"

namespace cssp::cuda {
namespace {

// Rows of one part: dense on its own, `row` apart in the whole.
struct PartRows {
  int64_t outer, run, row, offset;

  int64_t count() const { return outer * run; }
  // Where element i of the part lies in the whole.
  __device__ int64_t InWhole(int64_t i) const {
    return i / run * row + offset + i % run;
  }
};

// Calls body(part, rows) for every part until one fails.
template <class Body>
absl::Status ForEachPart(const PartLayout& layout, Body body) {
  int64_t offset = 0;
  for (size_t i = 0; i < layout.run.size(); ++i) {
    RETURN_IF_ERROR(
        body(i, PartRows{layout.outer, layout.run[i], layout.row(), offset}));
    offset += layout.run[i];
  }
  return absl::OkStatus();
}

absl::Status Take(Stream& stream, const PartRows& rows, const float* whole,
                  GradientMode mode, float* part) {
  return Store(stream, mode, part, rows.count(),
               [=] __device__(int64_t i) { return whole[rows.InWhole(i)]; });
}

// A null part counts as zeros.
absl::Status Put(Stream& stream, const PartRows& rows, const float* part,
                 GradientMode mode, float* whole) {
  const bool add = mode == GradientMode::kAdd;
  if (add && part == nullptr) return absl::OkStatus();
  return ForEach(stream, rows.count(), [=] __device__(int64_t i) {
    float& to = whole[rows.InWhole(i)];
    const float value = part == nullptr ? 0.0f : part[i];
    to = add ? to + value : value;
  });
}

// Thread-confined: the training thread.
class ConcatLayerCuda final : public ConcatLayer {
 public:
  using ConcatLayer::ConcatLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    layout_ = PartLayout::Of(axis(), bottom);
    return absl::OkStatus();
  }
  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    return ForEachPart(layout_, [&](size_t i, const PartRows& rows) {
      return Put(step.stream(), rows, args.bottom[i].data(),
                 GradientMode::kWrite, args.top[0].data());
    });
  }
  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    return ForEachPart(layout_, [&](size_t i, const PartRows& rows) {
      const GradientTensor& gradient = args.bottom_gradient[i];
      return Take(step.stream(), rows, args.top_gradient[0].data(),
                  gradient.mode, gradient.tensor.data());
    });
  }

 private:
  PartLayout layout_;
};

// Thread-confined: the training thread.
class SliceLayerCuda final : public SliceLayer {
 public:
  using SliceLayer::SliceLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    layout_ = PartLayout::Of(axis(), top);
    return absl::OkStatus();
  }
  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    return ForEachPart(layout_, [&](size_t i, const PartRows& rows) {
      return Take(step.stream(), rows, args.bottom[0].data(),
                  GradientMode::kWrite, args.top[i].data());
    });
  }
  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    if (gradient.mode == GradientMode::kNone) return absl::OkStatus();
    return ForEachPart(layout_, [&](size_t i, const PartRows& rows) {
      return Put(step.stream(), rows, args.top_gradient[i].data(),
                 gradient.mode, gradient.tensor.data());
    });
  }

 private:
  PartLayout layout_;
};

}  // namespace

absl::Status RegisterConcat(LayerRegistry& registry) {
  RETURN_IF_ERROR(registry.Register("Concat", DeviceType::kCuda,
                                    MakeLayer<ConcatLayerCuda>));
  return registry.Register("Slice", DeviceType::kCuda,
                           MakeLayer<SliceLayerCuda>);
}

}  // namespace cssp::cuda
