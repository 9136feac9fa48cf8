// Pooling of our own, for the cases in which oneDNN's differs from Caffe's, in
// Caffe's layout and the blocked ones.
#ifndef CSSP_WORKER_LAYERS_CPU_POOL_KERNELS_H_
#define CSSP_WORKER_LAYERS_CPU_POOL_KERNELS_H_

#include <cstdint>

#include "worker/layers/cpu/kernels.h"
#include "worker/net/philox.h"

namespace cssp::cpu {

// Three spatial axes; where there are fewer, the first ones are of extent 1.
struct PoolShape {
  ChannelView view;  // of the bottom
  int64_t in[3] = {1, 1, 1};
  int64_t out[3] = {1, 1, 1};
  int64_t kernel[3] = {1, 1, 1};
  int64_t stride[3] = {1, 1, 1};
  int64_t pad[3] = {0, 0, 0};

  int64_t windows() const { return out[0] * out[1] * out[2]; }
};

// `chosen`: as many as the top has stored elements; receives the row-major
// index that won, -1 for an empty window.
void MaxPoolForward(const PoolShape& shape, const float* bottom, float* top,
                    int32_t* chosen);
void AvePoolForward(const PoolShape& shape, const float* bottom, float* top);
void AvePoolBackward(const PoolShape& shape, const float* top_gradient,
                     bool add, float* bottom_gradient);
// Window i, in Caffe's order, takes draw first_draw + i of the site.
void StochasticPoolForward(const PoolShape& shape, const DrawSite& site,
                           int64_t first_draw, const float* bottom, float* top,
                           int32_t* chosen);
// Of MAX and STOCHASTIC: to the element that was chosen.
void ChosenPoolBackward(const PoolShape& shape, const int32_t* chosen,
                        const float* top_gradient, bool add,
                        float* bottom_gradient);
// The mean of the activations weighted by themselves.
void WeightedPoolForward(const PoolShape& shape, const float* bottom,
                         float* top);
void WeightedPoolBackward(const PoolShape& shape, const float* bottom,
                          const float* top_gradient, bool add,
                          float* bottom_gradient);

}  // namespace cssp::cpu

#endif  // CSSP_WORKER_LAYERS_CPU_POOL_KERNELS_H_
