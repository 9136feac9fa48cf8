#include "worker/layers/concat_layer.h"

#include "common/base/status_macros.h"
#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"

namespace cssp::cpu {
namespace {

// Rows of one part: dense on its own, `row` apart in the whole.
struct PartRows {
  int64_t outer, run, row, offset;
};

// Calls body(part, rows) for every part.
template <class Body>
void ForEachPart(const PartLayout& layout, Body body) {
  int64_t offset = 0;
  for (size_t i = 0; i < layout.run.size(); ++i) {
    body(i, PartRows{layout.outer, layout.run[i], layout.row(), offset});
    offset += layout.run[i];
  }
}

void Gather(const PartRows& rows, const float* whole, GradientMode mode,
            float* part) {
  Store(mode, part, rows.outer * rows.run, [=](int64_t i) {
    return whole[i / rows.run * rows.row + rows.offset + i % rows.run];
  });
}

void CopyRows(const PartRows& r, const float* from, int64_t from_row,
              float* to, int64_t to_row) {
#pragma omp parallel for schedule(static) \
    if (r.outer * r.run >= kParallelElements)
  for (int64_t o = 0; o < r.outer; ++o) {
    std::memcpy(to + o * to_row, from + o * from_row, r.run * sizeof(float));
  }
}

// The part's rows out of the whole, or into it.
void TakeRows(const PartRows& r, const float* whole, GradientMode mode,
              float* part) {
  if (mode == GradientMode::kNone) return;
  if (mode == GradientMode::kAdd) return Gather(r, whole, mode, part);
  CopyRows(r, whole + r.offset, r.row, part, r.run);
}

void PutRows(const PartRows& r, const float* part, float* whole) {
  CopyRows(r, part, r.run, whole + r.offset, r.row);
}

// Thread-confined: the training thread.
class ConcatLayerCpu final : public ConcatLayer {
 public:
  using ConcatLayer::ConcatLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    layout_ = PartLayout::Of(axis(), bottom);
    return absl::OkStatus();
  }
  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    ForEachPart(layout_, [&](size_t i, const PartRows& rows) {
      PutRows(rows, args.bottom[i].data(), args.top[0].data());
    });
    return absl::OkStatus();
  }
  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    ForEachPart(layout_, [&](size_t i, const PartRows& rows) {
      const GradientTensor& gradient = args.bottom_gradient[i];
      TakeRows(rows, args.top_gradient[0].data(), gradient.mode,
               gradient.tensor.data());
    });
    return absl::OkStatus();
  }

 private:
  PartLayout layout_;
};

// Thread-confined: the training thread.
class SliceLayerCpu final : public SliceLayer {
 public:
  using SliceLayer::SliceLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    layout_ = PartLayout::Of(axis(), top);
    return absl::OkStatus();
  }
  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    ForEachPart(layout_, [&](size_t i, const PartRows& rows) {
      TakeRows(rows, args.bottom[0].data(), GradientMode::kWrite,
               args.top[i].data());
    });
    return absl::OkStatus();
  }
  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    if (gradient.mode == GradientMode::kNone) return absl::OkStatus();
    ForEachPart(layout_, [&](size_t i, const PartRows& rows) {
      Put(rows, args.top_gradient[i].data(),
          gradient.mode == GradientMode::kAdd, gradient.tensor.data());
    });
    return absl::OkStatus();
  }

 private:
  // A top that nobody uses has no gradient: zero.
  static void Put(const PartRows& r, const float* part, bool add,
                  float* whole) {
    if (add && part == nullptr) return;
#pragma omp parallel for schedule(static) \
    if (r.outer * r.run >= kParallelElements)
    for (int64_t o = 0; o < r.outer; ++o) {
      float* to = whole + o * r.row + r.offset;
      for (int64_t i = 0; i < r.run; ++i) {
        const float v = part == nullptr ? 0 : part[o * r.run + i];
        to[i] = add ? to[i] + v : v;
      }
    }
  }

  PartLayout layout_;
};

}  // namespace

absl::Status RegisterConcat(LayerRegistry& registry) {
  RETURN_IF_ERROR(registry.Register("Concat", DeviceType::kCpu,
                                    MakeLayer<ConcatLayerCpu>));
  return registry.Register("Slice", DeviceType::kCpu,
                           MakeLayer<SliceLayerCpu>);
}

}  // namespace cssp::cpu
