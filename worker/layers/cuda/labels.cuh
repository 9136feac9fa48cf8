// Labels on the device.  A label is a float that a user gave: it is checked
// before it indexes anything.  A kernel cannot return an error, so a label that
// is no class counts as ignored and makes the layer's result nan, which the
// loss fetch shows.
#ifndef CSSP_WORKER_LAYERS_CUDA_LABELS_CUH_
#define CSSP_WORKER_LAYERS_CUDA_LABELS_CUH_

#include <cmath>
#include <cstdint>

namespace cssp::cuda {

inline constexpr int64_t kIgnored = -1;
inline constexpr int64_t kNoClass = -2;

// score(o, c, i) lies at (o * classes + c) * inner + i, its label at
// o * inner + i.
struct Labels {
  const float* label = nullptr;
  int64_t classes = 0, inner = 0;
  bool ignores = false;
  int ignored = 0;

  // The class, kIgnored or kNoClass.  A label counts as its integer part.
  __device__ int64_t Class(int64_t i) const {
    const float value = label[i];
    if (ignores && fabsf(value) < 16777216.0f &&
        static_cast<int>(value) == ignored) {
      return kIgnored;
    }
    if (!(value > -1 && value < static_cast<float>(classes))) return kNoClass;
    return static_cast<int64_t>(value);
  }
  // Where the scores of label `i` begin; classes lie `inner` apart.
  __device__ int64_t Column(int64_t i) const {
    return i / inner * classes * inner + i % inner;
  }
  // Of score k.
  __device__ int64_t ClassOfScore(int64_t k) const {
    return k / inner % classes;
  }
  __device__ int64_t LabelOfScore(int64_t k) const {
    return k / inner / classes * inner + k % inner;
  }
};

}  // namespace cssp::cuda

#endif  // CSSP_WORKER_LAYERS_CUDA_LABELS_CUH_
