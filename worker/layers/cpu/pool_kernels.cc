#include "worker/layers/cpu/pool_kernels.h"

#include <algorithm>
#include <limits>

namespace cssp::cpu {
namespace {

// One window, clipped to the bottom.
struct Clipped {
  int64_t begin[3], end[3];
  float area;  // of the window clipped to the padded bottom
};

Clipped Clip(const PoolShape& s, const int64_t (&at)[3]) {
  Clipped c;
  c.area = 1;
  for (int i = 0; i < 3; ++i) {
    const int64_t begin = at[i] * s.stride[i] - s.pad[i];
    const int64_t end = std::min(begin + s.kernel[i], s.in[i] + s.pad[i]);
    c.area *= static_cast<float>(std::max<int64_t>(end - begin, 1));
    c.begin[i] = std::max<int64_t>(begin, 0);
    c.end[i] = std::min(end, s.in[i]);
  }
  return c;
}

// Calls body(plane, index among all windows, window) for every window of the
// planes, which are dealt to threads whole: no two threads touch one plane.
template <class Body>
void ForEachWindow(const PoolShape& s, Body body) {
  const int64_t planes = s.view.items * s.view.blocks;
#pragma omp parallel for schedule(static)
  for (int64_t plane = 0; plane < planes; ++plane) {
    int64_t out = plane * s.windows();
    for (int64_t od = 0; od < s.out[0]; ++od) {
      for (int64_t oh = 0; oh < s.out[1]; ++oh) {
        for (int64_t ow = 0; ow < s.out[2]; ++ow, ++out) {
          body(plane, out, Clip(s, {od, oh, ow}));
        }
      }
    }
  }
}

// Calls body(row-major index) for the elements of a window.
template <class Body>
inline void ForEachElement(const PoolShape& s, const Clipped& c, Body body) {
  for (int64_t d = c.begin[0]; d < c.end[0]; ++d) {
    for (int64_t h = c.begin[1]; h < c.end[1]; ++h) {
      const int64_t row = (d * s.in[1] + h) * s.in[2];
      for (int64_t w = c.begin[2]; w < c.end[2]; ++w) body(row + w);
    }
  }
}

void ZeroUnless(bool add, const PoolShape& s, float* gradient) {
  if (add) return;
  Fill(gradient, s.view.items * s.view.blocks * s.view.block_size(),
       [](int64_t) { return 0.0f; });
}

inline float Activation(float x) { return std::max(x, 0.0f); }

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
void ChosenBackward(const PoolShape& s, const int32_t* chosen, const float* dy,
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

// The first element at which the running sum exceeds `threshold`; the window's
// first element where nothing is positive, -1 where nothing is.
template <int kLanes>
int32_t Pick(const PoolShape& s, const Clipped& c, const float* x,
             float threshold) {
  int32_t first = -1, picked = -1, last_positive = -1;
  float running = 0;
  ForEachElement(s, c, [&](int64_t at) {
    const float a = Activation(x[at * kLanes]);
    running += a;
    if (first < 0) first = static_cast<int32_t>(at);
    if (a > 0) last_positive = static_cast<int32_t>(at);
    if (picked < 0 && running > threshold) picked = static_cast<int32_t>(at);
  });
  return picked >= 0 ? picked : last_positive >= 0 ? last_positive : first;
}

template <int kLanes>
void StochasticForward(const PoolShape& s, const DrawSite& site,
                       int64_t first_draw, const float* bottom, float* top,
                       int32_t* chosen) {
  const int64_t plane_size = s.view.block_size(), windows = s.windows();
  ForEachWindow(s, [&](int64_t plane, int64_t out, const Clipped& c) {
    const int64_t item = plane / s.view.blocks, block = plane % s.view.blocks;
    const int64_t valid = s.view.valid_lanes(block);
    for (int64_t l = 0; l < kLanes; ++l) {
      const float* x = bottom + plane * plane_size + l;
      float sum = 0;
      ForEachElement(s, c,
                     [&](int64_t at) { sum += Activation(x[at * kLanes]); });
      const int64_t channel = item * s.view.channels + block * kLanes + l;
      const int64_t draw =
          first_draw + channel * windows + out - plane * windows;
      const float u =
          UnitFloat(DrawBlock(site, static_cast<uint32_t>(draw / 4))[draw % 4]);
      const int32_t at = l < valid ? Pick<kLanes>(s, c, x, u * sum) : -1;
      chosen[out * kLanes + l] = at;
      top[out * kLanes + l] = at < 0 ? 0 : x[at * kLanes];
    }
  });
}

template <int kLanes>
void WeightedForward(const PoolShape& s, const float* bottom, float* top) {
  const int64_t plane_size = s.view.block_size();
  ForEachWindow(s, [&](int64_t plane, int64_t out, const Clipped& c) {
    const float* x = bottom + plane * plane_size;
    float sum[kLanes] = {}, squares[kLanes] = {};
    ForEachElement(s, c, [&](int64_t at) {
      for (int l = 0; l < kLanes; ++l) {
        const float a = Activation(x[at * kLanes + l]);
        sum[l] += a;
        squares[l] += a * a;
      }
    });
    for (int l = 0; l < kLanes; ++l) {
      top[out * kLanes + l] = sum[l] > 0 ? squares[l] / sum[l] : 0;
    }
  });
}

// d(Q/S)/da = (2a - Q/S) / S.
template <int kLanes>
void WeightedBackward(const PoolShape& s, const float* bottom, const float* dy,
                      float* dx) {
  const int64_t plane_size = s.view.block_size();
  ForEachWindow(s, [&](int64_t plane, int64_t out, const Clipped& c) {
    for (int l = 0; l < kLanes; ++l) {
      const float* x = bottom + plane * plane_size + l;
      float* target = dx + plane * plane_size + l;
      float sum = 0, squares = 0;
      ForEachElement(s, c, [&](int64_t at) {
        const float a = Activation(x[at * kLanes]);
        sum += a;
        squares += a * a;
      });
      if (!(sum > 0)) continue;
      const float scale = dy[out * kLanes + l] / sum, mean = squares / sum;
      ForEachElement(s, c, [&](int64_t at) {
        const float a = x[at * kLanes];
        if (a > 0) target[at * kLanes] += scale * (2 * a - mean);
      });
    }
  });
}

}  // namespace

void MaxPoolForward(const PoolShape& s, const float* bottom, float* top,
                    int32_t* chosen) {
  WithLanes(s.view.lanes, [&](auto lanes) {
    MaxForward<decltype(lanes)::value>(s, bottom, top, chosen);
  });
}

void AvePoolForward(const PoolShape& s, const float* bottom, float* top) {
  WithLanes(s.view.lanes, [&](auto lanes) {
    AveForward<decltype(lanes)::value>(s, bottom, top);
  });
}

void AvePoolBackward(const PoolShape& s, const float* dy, bool add, float* dx) {
  ZeroUnless(add, s, dx);
  WithLanes(s.view.lanes, [&](auto lanes) {
    AveBackward<decltype(lanes)::value>(s, dy, dx);
  });
}

void StochasticPoolForward(const PoolShape& s, const DrawSite& site,
                           int64_t first_draw, const float* bottom, float* top,
                           int32_t* chosen) {
  WithLanes(s.view.lanes, [&](auto lanes) {
    StochasticForward<decltype(lanes)::value>(s, site, first_draw, bottom, top,
                                              chosen);
  });
}

void ChosenPoolBackward(const PoolShape& s, const int32_t* chosen,
                        const float* dy, bool add, float* dx) {
  ZeroUnless(add, s, dx);
  WithLanes(s.view.lanes, [&](auto lanes) {
    ChosenBackward<decltype(lanes)::value>(s, chosen, dy, dx);
  });
}

void WeightedPoolForward(const PoolShape& s, const float* bottom, float* top) {
  WithLanes(s.view.lanes, [&](auto lanes) {
    WeightedForward<decltype(lanes)::value>(s, bottom, top);
  });
}

void WeightedPoolBackward(const PoolShape& s, const float* bottom,
                          const float* dy, bool add, float* dx) {
  ZeroUnless(add, s, dx);
  WithLanes(s.view.lanes, [&](auto lanes) {
    WeightedBackward<decltype(lanes)::value>(s, bottom, dy, dx);
  });
}

}  // namespace cssp::cpu
