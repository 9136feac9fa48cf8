#include "worker/layers/cpu/pool_kernels.h"

#include <algorithm>
#include <limits>

namespace cssp::cpu {
namespace {

// One window, clipped to the bottom.
struct Clipped {
  int64_t begin[2], end[2];
  float area;  // of the window clipped to the padded bottom
};

Clipped Clip(const PoolShape& s, int64_t oh, int64_t ow) {
  Clipped c;
  const int64_t at[2] = {oh, ow};
  c.area = 1;
  for (int i = 0; i < 2; ++i) {
    const int64_t begin = at[i] * s.stride[i] - s.pad[i];
    const int64_t end = std::min(begin + s.kernel[i], s.in[i] + s.pad[i]);
    c.area *= static_cast<float>(std::max<int64_t>(end - begin, 1));
    c.begin[i] = std::max<int64_t>(begin, 0);
    c.end[i] = std::min(end, s.in[i]);
  }
  return c;
}

// Calls body(plane, oh, ow, window) for every window of the planes, which are
// dealt to threads whole: no two threads touch one plane.
template <class Body>
void ForEachWindow(const PoolShape& s, Body body) {
  const int64_t planes = s.view.items * s.view.blocks;
#pragma omp parallel for schedule(static)
  for (int64_t plane = 0; plane < planes; ++plane) {
    for (int64_t oh = 0; oh < s.out[0]; ++oh) {
      for (int64_t ow = 0; ow < s.out[1]; ++ow) {
        body(plane, (plane * s.out[0] + oh) * s.out[1] + ow, Clip(s, oh, ow));
      }
    }
  }
}

// Calls body(index h*W+w) for the elements of a window.
template <class Body>
inline void ForEachElement(const PoolShape& s, const Clipped& c, Body body) {
  for (int64_t h = c.begin[0]; h < c.end[0]; ++h) {
    for (int64_t w = c.begin[1]; w < c.end[1]; ++w) body(h * s.in[1] + w);
  }
}

void ZeroUnless(bool add, const PoolShape& s, float* gradient) {
  if (add) return;
  Fill(gradient, s.view.items * s.view.blocks * s.view.block_size(),
       [](int64_t) { return 0.0f; });
}

template <int kLanes>
void MaxForward(const PoolShape& s, const float* bottom, float* top,
                int32_t* chosen) {
  const int64_t plane_size = s.view.block_size();
  ForEachWindow(s, [&](int64_t plane, int64_t out, const Clipped& c) {
    const float* x = bottom + plane * plane_size;
    float best[kLanes];
    int32_t index[kLanes];
    std::fill_n(best, kLanes, -std::numeric_limits<float>::max());
    std::fill_n(index, kLanes, -1);
    ForEachElement(s, c, [&](int64_t at) {
      for (int l = 0; l < kLanes; ++l) {
        const bool more = x[at * kLanes + l] > best[l];
        best[l] = more ? x[at * kLanes + l] : best[l];
        index[l] = more ? static_cast<int32_t>(at) : index[l];
      }
    });
    // Padding lanes hold zeros and yield zero, unless the window is empty.
    const int64_t valid = s.view.valid_lanes(plane % s.view.blocks);
    for (int64_t l = 0; l < kLanes; ++l) {
      top[out * kLanes + l] = l < valid ? best[l] : 0;
      chosen[out * kLanes + l] = index[l];
    }
  });
}

template <int kLanes>
void MaxBackward(const PoolShape& s, const int32_t* chosen, const float* dy,
                 float* dx) {
  const int64_t plane_size = s.view.block_size();
  ForEachWindow(s, [&](int64_t plane, int64_t out, const Clipped&) {
    float* target = dx + plane * plane_size;
    for (int l = 0; l < kLanes; ++l) {
      const int64_t at = chosen[out * kLanes + l];
      if (at >= 0) target[at * kLanes + l] += dy[out * kLanes + l];
    }
  });
}

template <int kLanes>
void AveForward(const PoolShape& s, const float* bottom, float* top) {
  const int64_t plane_size = s.view.block_size();
  ForEachWindow(s, [&](int64_t plane, int64_t out, const Clipped& c) {
    const float* x = bottom + plane * plane_size;
    float sum[kLanes] = {};
    ForEachElement(s, c, [&](int64_t at) {
      for (int l = 0; l < kLanes; ++l) sum[l] += x[at * kLanes + l];
    });
    for (int l = 0; l < kLanes; ++l) top[out * kLanes + l] = sum[l] / c.area;
  });
}

template <int kLanes>
void AveBackward(const PoolShape& s, const float* dy, float* dx) {
  const int64_t plane_size = s.view.block_size();
  ForEachWindow(s, [&](int64_t plane, int64_t out, const Clipped& c) {
    float* target = dx + plane * plane_size;
    float share[kLanes];
    for (int l = 0; l < kLanes; ++l) share[l] = dy[out * kLanes + l] / c.area;
    ForEachElement(s, c, [&](int64_t at) {
      for (int l = 0; l < kLanes; ++l) target[at * kLanes + l] += share[l];
    });
  });
}

}  // namespace

void MaxPoolForward(const PoolShape& s, const float* bottom, float* top,
                    int32_t* chosen) {
  if (s.view.lanes == 1) return MaxForward<1>(s, bottom, top, chosen);
  if (s.view.lanes == 8) return MaxForward<8>(s, bottom, top, chosen);
  MaxForward<16>(s, bottom, top, chosen);
}

void MaxPoolBackward(const PoolShape& s, const int32_t* chosen,
                     const float* dy, bool add, float* dx) {
  ZeroUnless(add, s, dx);
  if (s.view.lanes == 1) return MaxBackward<1>(s, chosen, dy, dx);
  if (s.view.lanes == 8) return MaxBackward<8>(s, chosen, dy, dx);
  MaxBackward<16>(s, chosen, dy, dx);
}

void AvePoolForward(const PoolShape& s, const float* bottom, float* top) {
  if (s.view.lanes == 1) return AveForward<1>(s, bottom, top);
  if (s.view.lanes == 8) return AveForward<8>(s, bottom, top);
  AveForward<16>(s, bottom, top);
}

void AvePoolBackward(const PoolShape& s, const float* dy, bool add,
                     float* dx) {
  ZeroUnless(add, s, dx);
  if (s.view.lanes == 1) return AveBackward<1>(s, dy, dx);
  if (s.view.lanes == 8) return AveBackward<8>(s, dy, dx);
  AveBackward<16>(s, dy, dx);
}

}  // namespace cssp::cpu
