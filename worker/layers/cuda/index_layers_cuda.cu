// Layers that look rows up by index: Embed, BatchReindex.  An index that names
// no row makes its row of the top nan and has no gradient.
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/layers/batch_reindex_layer.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/cuda/occurrences.cuh"
#include "worker/layers/cuda/reduce.cuh"
#include "worker/layers/embed_layer.h"

namespace cssp::cuda {
namespace {

// The row that a float names; -1: none.
struct RowIndex {
  const float *index;
  int64_t rows;
  bool whole;  // fractions name nothing, else they are dropped

  __device__ int64_t operator()(int64_t i) const {
    const float value = index[i];
    if (!(value >= 0 && value < static_cast<float>(rows))) return -1;
    const int64_t row = static_cast<int64_t>(value);
    return whole && static_cast<float>(row) != value ? -1 : row;
  }
};

absl::Status CheckPlaces(int64_t places) {
  if (places <= INT32_MAX) return absl::OkStatus();
  return absl::UnimplementedError(
      absl::StrCat(places, " indices do not run on a GPU: at most 2^31 - 1"));
}

// Zeroes where the mode is to write, then adds row by row.
absl::Status RowGradient(StepContext &step, const RowIndex &row, int64_t places,
                         const float *dy, int64_t width,
                         const GradientTensor &gradient, void *scratch) {
  if (gradient.mode == GradientMode::kNone) return absl::OkStatus();
  float *out = gradient.tensor.data();
  if (gradient.mode == GradientMode::kWrite) {
    RETURN_IF_ERROR(Fill(step.stream(), out, gradient.tensor.count(),
                         [] __device__(int64_t) { return 0.0f; }));
  }
  const Occurrences occurrences(places, scratch);
  RETURN_IF_ERROR(LinkOccurrences(step.stream(), occurrences, row));
  return AddOccurrences(step.stream(), occurrences, row, dy, width, out);
}

// Thread-confined: the training thread.
class EmbedLayerCuda final : public CudaLayer<EmbedLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    top_ = {bottom[0].shape.count(), num_output(), 1};
    RETURN_IF_ERROR(CheckPlaces(top_.items));
    set_scratch_bytes(std::max(Occurrences::scratch_bytes(top_.items),
                               ChannelSumPlan(top_).scratch_bytes()));
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext &step, const ForwardArgs &args) override {
    const int64_t n = num_output();
    const RowIndex row{args.bottom[0].data(), input_dim(), true};
    const float *weight = args.param[0].data();
    const float *b = bias() ? args.param[1].data() : nullptr;
    return Fill(step.stream(), args.top[0].data(), top_.count(),
                [=] __device__(int64_t i) {
                  const int64_t at = row(i / n);
                  if (at < 0) return NAN;
                  const float w = weight[at * n + i % n];
                  return b == nullptr ? w : w + b[i % n];
                });
  }

  absl::Status Backward(StepContext &step, const BackwardArgs &args) override {
    const float *dy = args.top_gradient[0].data();
    const RowIndex row{args.bottom[0].data(), input_dim(), true};
    RETURN_IF_ERROR(RowGradient(step, row, top_.items, dy, num_output(),
                                args.param_gradient[0], step.scratch().data()));
    if (!bias() || args.param_gradient[1].mode == GradientMode::kNone) {
      return absl::OkStatus();
    }
    const Slot slot = Slot::Of(args.param_gradient[1]);
    return SumChannels<double>(
        step.stream(), top_, step.scratch().data(),
        [=] __device__(int64_t i, int64_t) { return double{dy[i]}; },
        [=] __device__(int64_t c, double sum) {
          slot.Put(c, static_cast<float>(sum));
        });
  }

 private:
  ChannelView top_;
};

// Thread-confined: the training thread.
class BatchReindexLayerCuda final : public CudaLayer<BatchReindexLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    items_ = bottom[0].shape.dim(0);
    size_ = bottom[0].shape.count_from(1);
    places_ = bottom[1].shape.count();
    RETURN_IF_ERROR(CheckPlaces(places_));
    set_scratch_bytes(Occurrences::scratch_bytes(places_));
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext &step, const ForwardArgs &args) override {
    const float *x = args.bottom[0].data();
    const RowIndex item{args.bottom[1].data(), items_, false};
    const int64_t size = size_;
    return Fill(step.stream(), args.top[0].data(), places_ * size,
                [=] __device__(int64_t i) {
                  const int64_t at = item(i / size);
                  return at < 0 ? NAN : x[at * size + i % size];
                });
  }

  absl::Status Backward(StepContext &step, const BackwardArgs &args) override {
    const RowIndex item{args.bottom[1].data(), items_, false};
    return RowGradient(step, item, places_, args.top_gradient[0].data(), size_,
                       args.bottom_gradient[0], step.scratch().data());
  }

 private:
  int64_t items_ = 0, size_ = 0, places_ = 0;
};

}  // namespace

absl::Status RegisterIndexing(LayerRegistry &registry) {
  RETURN_IF_ERROR(registry.Register("Embed", DeviceType::kCuda,
                                    MakeCudaLayer<EmbedLayerCuda>));
  return registry.Register("BatchReindex", DeviceType::kCuda,
                           MakeCudaLayer<BatchReindexLayerCuda>);
}

}  // namespace cssp::cuda
