#include <cmath>

#include "common/device/cuda/launch.h"
#include "worker/layers/cuda/softmax_kernels.h"

namespace cssp::cuda {
namespace {

// The threads that share a column: a warp where the classes lie side by side,
// so that reads coalesce; else one, whose neighbours have the next columns.
template <int kLanes>
struct Column {
  int64_t at;  // offset of class 0
  int lane;

  __device__ Column(const SoftmaxShape& s, int64_t column)
      : at(column / s.inner * s.classes * s.inner + column % s.inner),
        lane(threadIdx.x % kLanes) {}

  __device__ static float Sum(float v) {
    for (int mask = kLanes / 2; mask > 0; mask /= 2) {
      v += __shfl_xor_sync(~0u, v, mask);
    }
    return v;
  }
  __device__ static float Max(float v) {
    for (int mask = kLanes / 2; mask > 0; mask /= 2) {
      v = fmaxf(v, __shfl_xor_sync(~0u, v, mask));
    }
    return v;
  }
};

// Calls body(column) for every column; whole warps stay together.
template <int kLanes, class Body>
__global__ void __launch_bounds__(kThreads)
    ColumnsKernel(SoftmaxShape s, Body body) {
  const int64_t threads = s.outer * s.inner * kLanes;
  const int64_t step = int64_t{blockDim.x} * gridDim.x;
  for (int64_t t = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; t < threads;
       t += step) {
    body(Column<kLanes>(s, t / kLanes));
  }
}

template <template <int> class Body, class... Args>
absl::Status ForEachColumn(Stream& stream, const SoftmaxShape& s,
                           Args... args) {
  const int64_t columns = s.classes < 1 ? 0 : s.outer * s.inner;
  if (s.inner == 1) {
    return Launch(stream, ColumnsKernel<32, Body<32>>, Blocks(columns * 32),
                  kThreads, s, Body<32>{s, args...});
  }
  return Launch(stream, ColumnsKernel<1, Body<1>>, Blocks(columns), kThreads, s,
                Body<1>{s, args...});
}

template <int kLanes>
struct ForwardBody {
  SoftmaxShape s;
  const float* x;
  float* y;
  __device__ void operator()(const Column<kLanes>& column) const {
    const float* in = x + column.at;
    float* out = y + column.at;
    float largest = -INFINITY, sum = 0;
    for (int64_t c = column.lane; c < s.classes; c += kLanes) {
      largest = fmaxf(largest, in[c * s.inner]);
    }
    largest = column.Max(largest);
    for (int64_t c = column.lane; c < s.classes; c += kLanes) {
      const float e = expf(in[c * s.inner] - largest);
      out[c * s.inner] = e;
      sum += e;
    }
    sum = column.Sum(sum);
    for (int64_t c = column.lane; c < s.classes; c += kLanes) {
      out[c * s.inner] /= sum;
    }
  }
};

template <int kLanes>
struct GradientBody {
  SoftmaxShape s;
  const float* y;
  const float* dy;
  bool add;
  float* dx;
  __device__ void operator()(const Column<kLanes>& column) const {
    float dot = 0;
    for (int64_t c = column.lane; c < s.classes; c += kLanes) {
      const int64_t i = column.at + c * s.inner;
      dot += dy[i] * y[i];
    }
    dot = column.Sum(dot);
    for (int64_t c = column.lane; c < s.classes; c += kLanes) {
      const int64_t i = column.at + c * s.inner;
      const float value = y[i] * (dy[i] - dot);
      dx[i] = add ? dx[i] + value : value;
    }
  }
};

}  // namespace

absl::Status Softmax(Stream& stream, const SoftmaxShape& shape, const float* x,
                     float* y) {
  return ForEachColumn<ForwardBody>(stream, shape, x, y);
}

absl::Status SoftmaxGradient(Stream& stream, const SoftmaxShape& shape,
                             const float* y, const float* dy,
                             const GradientTensor& dx) {
  if (dx.mode == GradientMode::kNone) return absl::OkStatus();
  return ForEachColumn<GradientBody>(
      stream, shape, y, dy, dx.mode == GradientMode::kAdd, dx.tensor.data());
}

}  // namespace cssp::cuda
