// Pooling of our own, for the cases in which oneDNN's differs from Caffe's, in
// Caffe's layout and the blocked ones.
#ifndef CSSP_WORKER_LAYERS_CPU_POOL_KERNELS_H_
#define CSSP_WORKER_LAYERS_CPU_POOL_KERNELS_H_

#include <cstdint>

#include "worker/layers/cpu/kernels.h"

namespace cssp::cpu {

// Index 0: height, 1: width.
struct PoolShape {
  ChannelView view;  // of the bottom
  int64_t in[2];
  int64_t out[2];
  int64_t kernel[2];
  int64_t stride[2];
  int64_t pad[2];
};

// `chosen`: as many as the top has stored elements; receives the index h*W+w
// that won, -1 for an empty window.
void MaxPoolForward(const PoolShape& shape, const float* bottom, float* top,
                    int32_t* chosen);
void MaxPoolBackward(const PoolShape& shape, const int32_t* chosen,
                     const float* top_gradient, bool add,
                     float* bottom_gradient);
void AvePoolForward(const PoolShape& shape, const float* bottom, float* top);
void AvePoolBackward(const PoolShape& shape, const float* top_gradient,
                     bool add, float* bottom_gradient);

}  // namespace cssp::cpu

#endif  // CSSP_WORKER_LAYERS_CPU_POOL_KERNELS_H_
