// Loops that several CPU layers share.  Threads are OpenMP's; the split of a
// loop depends on the thread count only, so equal threads give equal bits.
#ifndef CSSP_WORKER_LAYERS_CPU_KERNELS_H_
#define CSSP_WORKER_LAYERS_CPU_KERNELS_H_

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "common/tensor/tensor.h"
#include "worker/net/layer.h"

namespace cssp::cpu {

// Below this many elements a team of threads costs more than it brings.
inline constexpr int64_t kParallelElements = 1 << 14;

// out[i] = value(i), or += where the mode says add.
template <class Value>
void Store(GradientMode mode, float* out, int64_t n, Value value) {
  if (mode == GradientMode::kNone) return;
  if (mode == GradientMode::kWrite) {
#pragma omp parallel for schedule(static) if (n >= kParallelElements)
    for (int64_t i = 0; i < n; ++i) out[i] = value(i);
  } else {
#pragma omp parallel for schedule(static) if (n >= kParallelElements)
    for (int64_t i = 0; i < n; ++i) out[i] += value(i);
  }
}

template <class Value>
void Fill(float* out, int64_t n, Value value) {
  Store(GradientMode::kWrite, out, n, value);
}

inline void Copy(float* to, const float* from, int64_t n) {
  if (to == from) return;
  Fill(to, n, [=](int64_t i) { return from[i]; });
}

inline void AddOnto(float* to, const float* from, int64_t n) {
  Store(GradientMode::kAdd, to, n, [=](int64_t i) { return from[i]; });
}

inline int64_t BlockOf(Format format) {
  return format == Format::kCaffe ? 1 : format == Format::kBlocked8 ? 8 : 16;
}

// A tensor seen as items x channel blocks x positions x lanes: one view of
// Caffe's layout (one lane) and of the blocked ones.
struct ChannelView {
  int64_t items = 0;
  int64_t channels = 0;
  int64_t positions = 0;
  int64_t lanes = 1;
  int64_t blocks = 0;

  // `axis`: the channels' axis; 1 where the format is blocked.
  static ChannelView Of(const TensorDesc& desc, int axis) {
    ChannelView view;
    view.items = desc.shape.count(0, axis);
    view.channels = desc.shape.dim(axis);
    view.positions = desc.shape.count_from(axis + 1);
    view.lanes = BlockOf(desc.format);
    view.blocks = (view.channels + view.lanes - 1) / view.lanes;
    return view;
  }
  int64_t block_size() const { return positions * lanes; }
  // Lanes of block `b` that hold channels.
  int64_t valid_lanes(int64_t b) const {
    const int64_t left = channels - b * lanes;
    return left < lanes ? left : lanes;
  }
};

// Calls body(lanes) with `lanes` as a constant that the compiler unrolls by.
template <class Body>
void WithLanes(int64_t lanes, Body body) {
  if (lanes == 1) return body(std::integral_constant<int, 1>());
  if (lanes == 8) return body(std::integral_constant<int, 8>());
  body(std::integral_constant<int, 16>());
}

// sums[c] = sum over items and positions of value(i, c), i a stored index.
// `sums` and what `value` reads per channel have blocks * lanes entries.
// Channel blocks are dealt to threads whole: the sum's order is fixed.
template <class Value>
void SumChannels(const ChannelView& view, float* sums, Value value) {
  WithLanes(view.lanes, [&](auto constant) {
    constexpr int kLanes = decltype(constant)::value;
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < view.blocks; ++b) {
      double total[kLanes] = {};
      for (int64_t n = 0; n < view.items; ++n) {
        const int64_t start = (n * view.blocks + b) * view.positions * kLanes;
        for (int64_t p = 0; p < view.positions; ++p) {
          for (int l = 0; l < kLanes; ++l) {
            total[l] += value(start + p * kLanes + l, b * kLanes + l);
          }
        }
      }
      for (int l = 0; l < kLanes; ++l) {
        sums[b * kLanes + l] = static_cast<float>(total[l]);
      }
    }
  });
}

// out[i] (+)= value(i, c), c the channel of stored index i.
template <class Value>
void MapChannels(const ChannelView& view, GradientMode mode, float* out,
                 Value value) {
  if (mode == GradientMode::kNone) return;
  const bool add = mode == GradientMode::kAdd;
  WithLanes(view.lanes, [&](auto constant) {
    constexpr int kLanes = decltype(constant)::value;
    const int64_t planes = view.items * view.blocks;
#pragma omp parallel for schedule(static)
    for (int64_t plane = 0; plane < planes; ++plane) {
      const int64_t channel = plane % view.blocks * kLanes;
      const int64_t start = plane * view.positions * kLanes;
      for (int64_t p = 0; p < view.positions; ++p) {
        for (int l = 0; l < kLanes; ++l) {
          const int64_t i = start + p * kLanes + l;
          const float v = value(i, channel + l);
          out[i] = add ? out[i] + v : v;
        }
      }
    }
  });
}

// Where a primitive that can only write puts a gradient: in place, or into
// `temporary`, to be added afterwards.
inline float* WriteTarget(const GradientTensor& gradient, void* temporary) {
  return gradient.mode == GradientMode::kWrite
             ? gradient.tensor.data()
             : static_cast<float*>(temporary);
}

inline void FinishTarget(const GradientTensor& gradient,
                         const float* written) {
  if (gradient.mode == GradientMode::kAdd) {
    AddOnto(gradient.tensor.data(), written,
            gradient.tensor.desc->stored_count());
  }
}

inline size_t Align64(size_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace cssp::cpu

#endif  // CSSP_WORKER_LAYERS_CPU_KERNELS_H_
