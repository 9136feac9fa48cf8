// Values by channel, as many layers see tensors.  For .cu files.
#ifndef CSSP_WORKER_LAYERS_CUDA_CHANNELS_CUH_
#define CSSP_WORKER_LAYERS_CUDA_CHANNELS_CUH_

#include <cstdint>

#include "common/tensor/shape.h"
#include "worker/net/layer.h"

namespace cssp::cuda {

// A tensor seen as items x channels x positions.  64-bit divisions take a short
// way where both operands fit in 32 bits.
struct ChannelView {
  int64_t items = 0;
  int64_t channels = 0;
  int64_t positions = 0;

  static ChannelView Of(const Shape& shape, int axis) {
    return {shape.count(0, axis), shape.dim(axis), shape.count_from(axis + 1)};
  }
  int64_t count() const { return items * channels * positions; }
  __host__ __device__ int64_t Channel(int64_t i) const {
    return i / positions % channels;
  }
  __host__ __device__ int64_t Index(int64_t item, int64_t channel,
                                    int64_t position) const {
    return (item * channels + channel) * positions + position;
  }
};

// Where single values of a gradient go: nowhere (null), over what is there, or
// onto it.
struct Slot {
  float* out = nullptr;
  bool add = false;

  static Slot Of(const GradientTensor& gradient) {
    if (gradient.mode == GradientMode::kNone) return {};
    return {gradient.tensor.data(), gradient.mode == GradientMode::kAdd};
  }
  __device__ void Put(int64_t i, float value) const {
    if (out != nullptr) out[i] = add ? out[i] + value : value;
  }
};

}  // namespace cssp::cuda

#endif  // CSSP_WORKER_LAYERS_CUDA_CHANNELS_CUH_
