// What the recurrent layers' host halves share on a GPU.
#ifndef CSSP_WORKER_LAYERS_CUDA_RECURRENT_LAYER_CUDA_H_
#define CSSP_WORKER_LAYERS_CUDA_RECURRENT_LAYER_CUDA_H_

#include <cstdint>

#include "common/device/device.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/net/layer.h"

namespace cssp::cuda {

// A scratch handed out piece by piece; asked twice with the same sizes, once
// for its size and once for its pieces.
class ScratchPieces {
 public:
  explicit ScratchPieces(void *scratch) : next_(static_cast<char *>(scratch)) {}

  void *Bytes(size_t bytes) {
    void *piece = next_ == nullptr ? nullptr : next_ + used_;
    used_ += AlignUp(bytes);
    return piece;
  }
  float *Floats(int64_t n) {
    return static_cast<float *>(Bytes(n * sizeof(float)));
  }
  size_t used() const { return used_; }

 private:
  char *const next_;
  size_t used_ = 0;
};

// A gradient of our own, to be written.
inline GradientTensor WriteTo(float *values) {
  GradientTensor gradient;
  gradient.tensor.raw = values;
  gradient.mode = GradientMode::kWrite;
  return gradient;
}

}  // namespace cssp::cuda

#endif  // CSSP_WORKER_LAYERS_CUDA_RECURRENT_LAYER_CUDA_H_
