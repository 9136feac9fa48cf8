#include "worker/layers/host_transform.h"

namespace cssp {
namespace {

// Floats from which threads are worth their start.
constexpr int64_t kParallelFloats = int64_t{1} << 20;

}  // namespace

void TransformOnHost(const DataTransformer& transformer, const Batch& batch,
                     absl::Span<const Tensor> top) {
  const int64_t items = static_cast<int64_t>(batch.items.size());
  const int64_t floats = top[0].count() / items;
  float* data = top[0].data();
#pragma omp parallel for if (top[0].count() >= kParallelFloats)
  for (int64_t i = 0; i < items; ++i) {
    const BatchItem& item = batch.items[i];
    transformer.Transform(
        batch.View(item), item.draw,
        absl::MakeSpan(data + i * floats, static_cast<size_t>(floats)));
  }
  if (top.size() < 2) return;
  float* label = top[1].data();
  for (int64_t i = 0; i < items; ++i)
    label[i] = static_cast<float>(batch.items[i].label);
}

}  // namespace cssp
