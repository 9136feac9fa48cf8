// Softmax and its gradient over (outer, classes, inner).
#ifndef CSSP_WORKER_LAYERS_CPU_SOFTMAX_KERNELS_H_
#define CSSP_WORKER_LAYERS_CPU_SOFTMAX_KERNELS_H_

#include "worker/layers/label_axis.h"

namespace cssp::cpu {

// x may be y.
void Softmax(const LabelAxis& axis, const float* x, float* y);
// dx (+)= y * (dy - sum over classes of dy * y).  dx may be dy.
void SoftmaxGradient(const LabelAxis& axis, const float* y, const float* dy,
                     bool add, float* dx);

}  // namespace cssp::cpu

#endif  // CSSP_WORKER_LAYERS_CPU_SOFTMAX_KERNELS_H_
