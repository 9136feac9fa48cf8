#include "worker/net/reorder.h"

#include <algorithm>
#include <cstring>

#include "common/base/logging.h"

namespace cssp {
namespace {

int64_t Lanes(Format format) {
  return format == Format::kCaffe ? 1 : format == Format::kBlocked8 ? 8 : 16;
}

// One image's block of `lanes` channels, of which `used` exist: planes to
// pixels.  The inner loops run over the lanes so that writes are contiguous.
template <int kLanes>
void PlanesToBlock(const float* from, int64_t plane, int64_t used, float* to) {
  if (used == kLanes) {
    for (int64_t p = 0; p < plane; ++p)
      for (int c = 0; c < kLanes; ++c) to[p * kLanes + c] = from[c * plane + p];
    return;
  }
  for (int64_t p = 0; p < plane; ++p) {
    for (int64_t c = 0; c < used; ++c)
      to[p * kLanes + c] = from[c * plane + p];
    for (int64_t c = used; c < kLanes; ++c) to[p * kLanes + c] = 0;
  }
}

template <int kLanes>
void BlockToPlanes(const float* from, int64_t plane, int64_t used, float* to) {
  for (int64_t c = 0; c < used; ++c)
    for (int64_t p = 0; p < plane; ++p)
      to[c * plane + p] = from[p * kLanes + c];
}

template <int kLanes, bool kToBlocked>
void Planes(const float* from, float* to, const Shape& shape) {
  const int64_t items = shape.dim(0), channels = shape.dim(1);
  const int64_t plane = shape.count_from(2);
  const int64_t blocks = (channels + kLanes - 1) / kLanes;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < items * blocks; ++i) {
    const int64_t n = i / blocks, block = i % blocks;
    const int64_t used = std::min<int64_t>(kLanes, channels - block * kLanes);
    const int64_t plain = (n * channels + block * kLanes) * plane;
    const int64_t blocked = i * kLanes * plane;
    if constexpr (kToBlocked) {
      PlanesToBlock<kLanes>(from + plain, plane, used, to + blocked);
    } else {
      BlockToPlanes<kLanes>(from + blocked, plane, used, to + plain);
    }
  }
}

// Between block sizes, element by element: no layer asks for it in practice.
void BlockToBlock(const float* from, int64_t from_lanes, float* to,
                  int64_t to_lanes, const Shape& shape) {
  const int64_t channels = shape.dim(1), plane = shape.count_from(2);
  const int64_t from_blocks = (channels + from_lanes - 1) / from_lanes;
  const int64_t to_blocks = (channels + to_lanes - 1) / to_lanes;
#pragma omp parallel for schedule(static)
  for (int64_t n = 0; n < shape.dim(0); ++n) {
    for (int64_t c = 0; c < to_blocks * to_lanes; ++c) {
      float* out = to + (n * to_blocks + c / to_lanes) * to_lanes * plane +
                   c % to_lanes;
      const float* in = from +
                        (n * from_blocks + c / from_lanes) * from_lanes *
                            plane +
                        c % from_lanes;
      for (int64_t p = 0; p < plane; ++p)
        out[p * to_lanes] = c < channels ? in[p * from_lanes] : 0;
    }
  }
}

}  // namespace

void Reorder(const ConstTensor& from, const Tensor& to) {
  CHECK(from.desc->shape == to.desc->shape) << "a reorder keeps the shape";
  const Format a = from.desc->format, b = to.desc->format;
  const Shape& shape = from.desc->shape;
  if (a == b) {
    std::memcpy(to.raw, from.raw, from.desc->bytes());
  } else if (a == Format::kCaffe && b == Format::kBlocked8) {
    Planes<8, true>(from.data(), to.data(), shape);
  } else if (a == Format::kCaffe) {
    Planes<16, true>(from.data(), to.data(), shape);
  } else if (b == Format::kCaffe && a == Format::kBlocked8) {
    Planes<8, false>(from.data(), to.data(), shape);
  } else if (b == Format::kCaffe) {
    Planes<16, false>(from.data(), to.data(), shape);
  } else {
    BlockToBlock(from.data(), Lanes(a), to.data(), Lanes(b), shape);
  }
}

}  // namespace cssp
