// Gathers and scatters along a StridedMap, a run of the last axis at a time.
#ifndef CSSP_WORKER_LAYERS_CPU_STRIDED_KERNELS_H_
#define CSSP_WORKER_LAYERS_CPU_STRIDED_KERNELS_H_

#include <algorithm>

#include "worker/layers/cpu/kernels.h"
#include "worker/layers/strided_map.h"

namespace cssp::cpu {

// Calls body(first dense index, first source index) for every run.
template <class Body>
void ForEachRun(const StridedMap& map, Body body) {
  const int64_t count = map.count();
  if (count == 0) return;
  const int64_t run = map.axes == 0 ? 1 : map.extent[map.axes - 1];
  const int64_t runs = count / run;
#pragma omp parallel for schedule(static) if (count >= kParallelElements)
  for (int64_t r = 0; r < runs; ++r) body(r * run, map.Source(r * run));
}

// dense[i] = whole[Source(i)], or += where the mode says add.
inline void Gather(const StridedMap& map, const float* whole, GradientMode mode,
                   float* dense) {
  if (mode == GradientMode::kNone) return;
  const int64_t run = map.axes == 0 ? 1 : map.extent[map.axes - 1];
  const int64_t step = map.axes == 0 ? 1 : map.stride[map.axes - 1];
  const bool add = mode == GradientMode::kAdd;
  ForEachRun(map, [=](int64_t to, int64_t from) {
    for (int64_t i = 0; i < run; ++i) {
      const float v = whole[from + i * step];
      dense[to + i] = add ? dense[to + i] + v : v;
    }
  });
}

// whole[Source(i)] = dense[i], or += where the mode says add.  Elements that
// the map does not name stay as they are.
inline void Scatter(const StridedMap& map, const float* dense,
                    GradientMode mode, float* whole) {
  if (mode == GradientMode::kNone) return;
  const int64_t run = map.axes == 0 ? 1 : map.extent[map.axes - 1];
  const int64_t step = map.axes == 0 ? 1 : map.stride[map.axes - 1];
  const bool add = mode == GradientMode::kAdd;
  ForEachRun(map, [=](int64_t from, int64_t to) {
    for (int64_t i = 0; i < run; ++i) {
      float& at = whole[to + i * step];
      at = add ? at + dense[from + i] : dense[from + i];
    }
  });
}

}  // namespace cssp::cpu

#endif  // CSSP_WORKER_LAYERS_CPU_STRIDED_KERNELS_H_
