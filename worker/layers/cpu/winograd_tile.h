// What winograd.cc does to one tile: the transforms, 16 channels at a time, and
// the products between them.  REQUIRES: AVX-512.
#ifndef CSSP_WORKER_LAYERS_CPU_WINOGRAD_TILE_H_
#define CSSP_WORKER_LAYERS_CPU_WINOGRAD_TILE_H_

#include <cstdint>

namespace cssp::cpu {

inline constexpr int kTile = 6;                // side of a bottom tile
inline constexpr int kPoints = kTile * kTile;  // products a tile
inline constexpr int kLanes = 16;              // channels a block
// Of a product held in registers, times two blocks.
inline constexpr int kProductRows = 12;

// A product of matrices, blocks of 16 columns:
//   c(r, 16 * q + l) (+)= sum over i < reduce of a(r, i) * b(i, q, l).
struct Product {
  const float* a = nullptr;
  int64_t a_row = 0, a_reduce = 0;  // strides, in floats
  const float* b = nullptr;         // 64-byte aligned, its strides too
  int64_t b_reduce = 0, b_block = 0;
  float* c = nullptr;
  int64_t c_row = 0;  // blocks lie side by side
  int64_t reduce = 0;
  bool add = false;
};
// `blocks`: 1 or 2.
void MultiplyRows(Product product, int64_t rows, int blocks);

// Where a tile begins in a plane of rows x columns of `kLanes` floats; it may
// reach beyond on every side.
struct Place {
  int64_t y = 0, x = 0, rows = 0, columns = 0;
};

// Below, point p of a transformed tile lies `step` floats behind point p - 1, a
// multiple of kLanes; `kernel` is 3 or 5.

// B^T d B; beyond the plane d is zero.
void TransformBottom(const float* plane, const Place& at, float* out,
                     int64_t step);
// A dY A^T; beyond the plane dY is zero.
void TransformTopGradient(int kernel, const float* plane, const Place& at,
                          float* out, int64_t step);
// A^T M A plus `bias`, 16 floats, into the elements that the plane has.
void TransformTop(int kernel, const float* products, int64_t step,
                  const float* bias, const Place& at, float* plane);

// Sixteen filters of one input channel, `stride` floats apart, of which
// `lanes` exist; `turned` reads each from its end.
struct Filters {
  int64_t stride = 0;
  int lanes = kLanes;
  bool turned = false;
};
// G g G^T.
void TransformFilters(int kernel, const float* filters, const Filters& f,
                      float* out, int64_t step);
// G^T dU G, into or onto the filters' gradient.
void TransformGradient(int kernel, const float* sums, int64_t step,
                       const Filters& f, bool add, float* gradient);

// sum[l] = sum of the plane's lanes l.
void SumPlane(const float* plane, int64_t positions, float* sum);

}  // namespace cssp::cpu

#endif  // CSSP_WORKER_LAYERS_CPU_WINOGRAD_TILE_H_
