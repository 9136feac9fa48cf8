#include <cfloat>

#include "common/device/cuda/launch.h"
#include "worker/layers/cuda/pool_kernels.h"

namespace cssp::cuda {
namespace {

struct Range {
  int64_t begin, end;
};

// The elements of window o, clipped to the bottom.
__device__ Range Elements(const PoolAxis &a, int64_t o) {
  const int64_t begin = o * a.stride - a.pad;
  return {max(begin, int64_t{0}), min(begin + a.kernel, a.in)};
}

// The extent of window o, clipped to the padded bottom.
__device__ int64_t Padded(const PoolAxis &a, int64_t o) {
  const int64_t begin = o * a.stride - a.pad;
  return max(min(begin + a.kernel, a.in + a.pad) - begin, int64_t{1});
}

// The windows over element i.
__device__ Range Windows(const PoolAxis &a, int64_t i) {
  const int64_t before = i + a.pad - a.kernel;
  return {before < 0 ? 0 : before / a.stride + 1,
          min((i + a.pad) / a.stride + 1, a.out)};
}

// One window: its place in each axis.
struct Window {
  int64_t at[3];

  __device__ static Window Of(const PoolShape &s, int64_t index) {
    const int64_t row = index / s.axis[2].out;
    return {{row / s.axis[1].out, row % s.axis[1].out, index % s.axis[2].out}};
  }
  __device__ float Area(const PoolShape &s) const {
    int64_t area = 1;
    for (int i = 0; i < 3; ++i) area *= Padded(s.axis[i], at[i]);
    return static_cast<float>(area);
  }
  // Calls body(row-major index in the plane) for its elements.
  template <class Body>
  __device__ void ForEachElement(const PoolShape &s, Body body) const {
    const Range d = Elements(s.axis[0], at[0]);
    const Range h = Elements(s.axis[1], at[1]);
    const Range w = Elements(s.axis[2], at[2]);
    for (int64_t i = d.begin; i < d.end; ++i) {
      for (int64_t j = h.begin; j < h.end; ++j) {
        const int64_t row = (i * s.axis[1].in + j) * s.axis[2].in;
        for (int64_t k = w.begin; k < w.end; ++k) body(row + k);
      }
    }
  }
};

__device__ int64_t TopOf(const PoolShape &s, int64_t plane, int64_t windows) {
  return plane / s.channels * s.top_item + s.top_offset +
         plane % s.channels * windows;
}

// Calls body(plane of x, window, index in the top) for every window.
template <class Body>
absl::Status ForEachWindow(Stream &stream, const PoolShape &s, const float *x,
                           Body body) {
  const int64_t windows = s.windows(), plane_size = s.plane();
  return ForEach(stream, s.planes * windows, [=] __device__(int64_t i) {
    const int64_t plane = i / windows, window = i % windows;
    body(x + plane * plane_size, Window::Of(s, window),
         TopOf(s, plane, windows) + window);
  });
}

// dx = or += the sum over the windows over an element of share(window, index in
// the top, index of the element in its plane, plane).
template <class Share>
absl::Status Gather(Stream &stream, const PoolShape &s, bool add, float *dx,
                    Share share) {
  const int64_t windows = s.windows(), plane_size = s.plane();
  return ForEach(stream, s.planes * plane_size, [=] __device__(int64_t i) {
    const int64_t plane = i / plane_size, at = i % plane_size;
    const int64_t row = at / s.axis[2].in;
    const Range d = Windows(s.axis[0], row / s.axis[1].in);
    const Range h = Windows(s.axis[1], row % s.axis[1].in);
    const Range w = Windows(s.axis[2], at % s.axis[2].in);
    const int64_t top = TopOf(s, plane, windows);
    float sum = add ? dx[i] : 0.0f;
    for (int64_t od = d.begin; od < d.end; ++od) {
      for (int64_t oh = h.begin; oh < h.end; ++oh) {
        const int64_t line = top + (od * s.axis[1].out + oh) * s.axis[2].out;
        for (int64_t ow = w.begin; ow < w.end; ++ow) {
          sum += share(Window{{od, oh, ow}}, line + ow, at, plane);
        }
      }
    }
    dx[i] = sum;
  });
}

__device__ float Activation(float x) { return x > 0 ? x : 0.0f; }

// The sum of a window's activations and of their squares.
struct Mass {
  float sum = 0, squares = 0;

  __device__ static Mass Of(const PoolShape &s, const Window &window,
                            const float *x) {
    Mass mass;
    window.ForEachElement(s, [&](int64_t at) {
      const float a = Activation(x[at]);
      mass.sum += a;
      mass.squares += a * a;
    });
    return mass;
  }
};

// Where the running sum exceeds `threshold`; should rounding keep it below, the
// last positive element; the first one where nothing is positive.
__device__ int32_t Pick(const PoolShape &s, const Window &window,
                        const float *x, float threshold) {
  int32_t first = -1, picked = -1, last_positive = -1;
  float running = 0;
  window.ForEachElement(s, [&](int64_t i) {
    const int32_t at = static_cast<int32_t>(i);
    const float a = Activation(x[i]);
    running += a;
    if (first < 0) first = at;
    if (a > 0) last_positive = at;
    if (picked < 0 && running > threshold) picked = at;
  });
  return picked >= 0 ? picked : last_positive >= 0 ? last_positive : first;
}

}  // namespace

absl::Status MaxPool(Stream &stream, const PoolShape &s, const float *x,
                     float *y, int32_t *chosen) {
  return ForEachWindow(
      stream, s, x,
      [=] __device__(const float *plane, const Window &window, int64_t top) {
        float best = -FLT_MAX;  // stays in an empty window
        int32_t index = -1;
        window.ForEachElement(s, [&](int64_t at) {
          if (!(plane[at] > best)) return;
          best = plane[at];
          index = static_cast<int32_t>(at);
        });
        y[top] = best;
        chosen[top] = index;
      });
}

absl::Status AvePool(Stream &stream, const PoolShape &s, const float *x,
                     float *y) {
  return ForEachWindow(
      stream, s, x,
      [=] __device__(const float *plane, const Window &window, int64_t top) {
        float sum = 0;
        window.ForEachElement(s, [&](int64_t at) { sum += plane[at]; });
        y[top] = sum / window.Area(s);
      });
}

absl::Status StochasticPool(Stream &stream, const PoolShape &s,
                            const DrawSite &site, const float *x, float *y,
                            int32_t *chosen) {
  return ForEachWindow(
      stream, s, x,
      [=] __device__(const float *plane, const Window &window, int64_t top) {
        const PhiloxBlock draws =
            DrawBlock(site, static_cast<uint32_t>(top / 4));
        const float sum = Mass::Of(s, window, plane).sum;
        const int32_t at =
            Pick(s, window, plane, UnitFloat(draws[top % 4]) * sum);
        chosen[top] = at;
        y[top] = at < 0 ? 0 : plane[at];
      });
}

absl::Status WeightedPool(Stream &stream, const PoolShape &s, const float *x,
                          float *y) {
  return ForEachWindow(
      stream, s, x,
      [=] __device__(const float *plane, const Window &window, int64_t top) {
        const Mass mass = Mass::Of(s, window, plane);
        y[top] = mass.sum > 0 ? mass.squares / mass.sum : 0;
      });
}

absl::Status IndicesAsFloats(Stream &stream, const int32_t *indices, int64_t n,
                             float *floats) {
  return ForEach(stream, n, [=] __device__(int64_t i) {
    floats[i] = static_cast<float>(indices[i]);
  });
}

absl::Status ChosenPoolGradient(Stream &stream, const PoolShape &s,
                                const int32_t *chosen, const float *dy,
                                bool add, float *dx) {
  return Gather(
      stream, s, add, dx,
      [=] __device__(const Window &, int64_t top, int64_t at, int64_t) {
        return chosen[top] == at ? dy[top] : 0.0f;
      });
}

absl::Status AvePoolGradient(Stream &stream, const PoolShape &s,
                             const float *dy, bool add, float *dx) {
  return Gather(stream, s, add, dx,
                [=] __device__(const Window &window, int64_t top, int64_t,
                               int64_t) { return dy[top] / window.Area(s); });
}

// d(Q/S)/da = (2a - Q/S) / S.
absl::Status WeightedPoolGradient(Stream &stream, const PoolShape &s,
                                  const float *x, const float *dy, bool add,
                                  float *dx) {
  const int64_t plane_size = s.plane();
  return Gather(stream, s, add, dx,
                [=] __device__(const Window &window, int64_t top, int64_t at,
                               int64_t plane) {
                  const float *map = x + plane * plane_size;
                  const float a = map[at];
                  if (!(a > 0)) return 0.0f;
                  const Mass mass = Mass::Of(s, window, map);
                  return dy[top] / mass.sum * (2 * a - mass.squares / mass.sum);
                });
}

}  // namespace cssp::cuda
