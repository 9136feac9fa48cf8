#include "worker/layers/cpu/softmax_kernels.h"

#include <algorithm>
#include <cmath>

#include "worker/layers/cpu/kernels.h"

namespace cssp::cpu {
namespace {

// Calls body(offset of class 0) for every item and position.
template <class Body>
void ForEachColumn(const LabelAxis& axis, Body body) {
  const int64_t columns = axis.outer * axis.inner;
#pragma omp parallel for schedule(static) \
    if (columns * axis.classes >= kParallelElements)
  for (int64_t i = 0; i < columns; ++i) {
    body(i / axis.inner * axis.classes * axis.inner + i % axis.inner);
  }
}

}  // namespace

void Softmax(const LabelAxis& axis, const float* x, float* y) {
  const int64_t classes = axis.classes, step = axis.inner;
  if (classes == 0) return;
  ForEachColumn(axis, [=](int64_t at) {
    const float* in = x + at;
    float* out = y + at;
    float largest = in[0];
    for (int64_t c = 1; c < classes; ++c) {
      largest = std::max(largest, in[c * step]);
    }
    float sum = 0;
    for (int64_t c = 0; c < classes; ++c) {
      out[c * step] = std::exp(in[c * step] - largest);
      sum += out[c * step];
    }
    for (int64_t c = 0; c < classes; ++c) out[c * step] /= sum;
  });
}

void SoftmaxGradient(const LabelAxis& axis, const float* y, const float* dy,
                     bool add, float* dx) {
  const int64_t classes = axis.classes, step = axis.inner;
  ForEachColumn(axis, [=](int64_t at) {
    float dot = 0;
    for (int64_t c = 0; c < classes; ++c) {
      dot += dy[at + c * step] * y[at + c * step];
    }
    for (int64_t c = 0; c < classes; ++c) {
      const int64_t i = at + c * step;
      const float value = y[i] * (dy[i] - dot);
      dx[i] = add ? dx[i] + value : value;
    }
  });
}

}  // namespace cssp::cpu
