// Pooling over three spatial axes, for Pooling and SPP.
#ifndef CSSP_WORKER_LAYERS_CUDA_POOL_KERNELS_H_
#define CSSP_WORKER_LAYERS_CUDA_POOL_KERNELS_H_

#include <cstdint>

#include "worker/net/layer.h"
#include "worker/net/philox.h"

namespace cssp::cuda {

// One spatial axis.
struct PoolAxis {
  int64_t in = 1, out = 1, kernel = 1, stride = 1, pad = 0;
};

// `planes` maps of the bottom lie side by side.  Of the top's windows, those of
// plane p begin at
//   p / channels * top_item + top_offset + p % channels * windows().
// Pooling: all planes are one item's, which begins at 0.
struct PoolShape {
  PoolAxis axis[3];
  int64_t planes = 0, channels = 0;
  int64_t top_item = 0, top_offset = 0;

  int64_t plane() const { return axis[0].in * axis[1].in * axis[2].in; }
  int64_t windows() const { return axis[0].out * axis[1].out * axis[2].out; }
};

// Forward.  `chosen` has a place for every element of the top; it receives the
// row-major index that won, -1 for an empty window.
absl::Status MaxPool(Stream &stream, const PoolShape &shape, const float *x,
                     float *y, int32_t *chosen);
absl::Status AvePool(Stream &stream, const PoolShape &shape, const float *x,
                     float *y);
// Element i of the top takes draw i of the site.
absl::Status StochasticPool(Stream &stream, const PoolShape &shape,
                            const DrawSite &site, const float *x, float *y,
                            int32_t *chosen);
// The mean of the activations weighted by themselves.
absl::Status WeightedPool(Stream &stream, const PoolShape &shape,
                          const float *x, float *y);

// floats[i] = indices[i].
absl::Status IndicesAsFloats(Stream &stream, const int32_t *indices, int64_t n,
                             float *floats);

// Backward gathers: an element of the bottom asks the windows over it, in their
// order.  dx is written, or added to if `add`.
absl::Status ChosenPoolGradient(Stream &stream, const PoolShape &shape,
                                const int32_t *chosen, const float *dy,
                                bool add, float *dx);
absl::Status AvePoolGradient(Stream &stream, const PoolShape &shape,
                             const float *dy, bool add, float *dx);
absl::Status WeightedPoolGradient(Stream &stream, const PoolShape &shape,
                                  const float *x, const float *dy, bool add,
                                  float *dx);

}  // namespace cssp::cuda

#endif  // CSSP_WORKER_LAYERS_CUDA_POOL_KERNELS_H_
