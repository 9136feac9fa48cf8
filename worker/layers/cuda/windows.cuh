// Windows over maps along any number of axes, for Im2col and for convolutions
// made of it.  For .cu files.
#ifndef CSSP_WORKER_LAYERS_CUDA_WINDOWS_CUH_
#define CSSP_WORKER_LAYERS_CUDA_WINDOWS_CUH_

#include <cstdint>

#include "worker/layers/convolution_geometry.h"

namespace cssp::cuda {

// The matrix of windows: a row for every channel and tap, a column for every
// window.  Travels to a kernel by value.
struct Windows {
  static constexpr int kMost = ConvolutionGeometry::kMaxSpatialAxes;
  struct Axis {
    int64_t in, out, kernel, stride, pad, dilation;
  };
  int axes = 0;
  Axis axis[kMost];
  int64_t plane = 1;    // elements of a map
  int64_t windows = 1;  // over a map
  int64_t taps = 1;     // of a window

  static Windows Of(const ConvolutionGeometry& geometry,
                    const ConvolutionGeometry::Extents& in,
                    const ConvolutionGeometry::Extents& out) {
    Windows windows;
    windows.axes = geometry.spatial_axes();
    for (int a = 0; a < windows.axes; ++a) {
      windows.axis[a] = {in[a],
                         out[a],
                         geometry.kernel[a],
                         geometry.stride[a],
                         geometry.pad[a],
                         geometry.dilation[a]};
      windows.plane *= in[a];
      windows.windows *= out[a];
      windows.taps *= geometry.kernel[a];
    }
    return windows;
  }

  // Top element i: the bottom element it shows, or -1 in the padding.
  __device__ int64_t Element(int64_t i) const {
    int64_t window = i % windows, tap = i / windows % taps;
    int64_t at = 0, scale = 1;
    for (int a = axes - 1; a >= 0; --a) {
      const Axis& x = axis[a];
      const int64_t place =
          window % x.out * x.stride - x.pad + tap % x.kernel * x.dilation;
      if (place < 0 || place >= x.in) return -1;
      at += place * scale;
      scale *= x.in;
      window /= x.out;
      tap /= x.kernel;
    }
    return i / windows / taps * plane + at;
  }

  // Bottom element i, tap k: the top element that shows it there, or -1.
  __device__ int64_t Shown(int64_t i, int64_t k) const {
    int64_t at = i % plane, tap = k, window = 0, scale = 1;
    for (int a = axes - 1; a >= 0; --a) {
      const Axis& x = axis[a];
      const int64_t start = at % x.in + x.pad - tap % x.kernel * x.dilation;
      if (start < 0 || start % x.stride != 0) return -1;
      if (start / x.stride >= x.out) return -1;
      window += start / x.stride * scale;
      scale *= x.out;
      at /= x.in;
      tap /= x.kernel;
    }
    return (i / plane * taps + k) * windows + window;
  }
};

// What a bottom of `planes` maps looks like through windows: element i of the
// matrix.
struct ShowWindows {
  Windows windows;
  const float* x;
  __device__ float operator()(int64_t i) const {
    const int64_t at = windows.Element(i);
    return at < 0 ? 0.0f : x[at];
  }
};

// The adjoint: an element of the maps gathers from every tap's window over it.
struct GatherWindows {
  Windows windows;
  const float* matrix;
  __device__ float operator()(int64_t i) const {
    float sum = 0;
    for (int64_t k = 0; k < windows.taps; ++k) {
      const int64_t at = windows.Shown(i, k);
      if (at >= 0) sum += matrix[at];
    }
    return sum;
  }
};

}  // namespace cssp::cuda

#endif  // CSSP_WORKER_LAYERS_CUDA_WINDOWS_CUH_
