#include "worker/layers/cpu/winograd_tile.h"

#include <algorithm>
#include <array>
#include <utility>

#include "worker/layers/cpu/winograd_avx512.h"

namespace cssp::cpu {
namespace {

using MultiplyFunction = void (*)(const Product&);

template <int kBlocks, size_t... kRow>
constexpr std::array<MultiplyFunction, kProductRows> Table(
    std::index_sequence<kRow...>) {
  return {Multiply<static_cast<int>(kRow) + 1, kBlocks>...};
}
constexpr auto kMultiply1 = Table<1>(std::make_index_sequence<kProductRows>());
constexpr auto kMultiply2 = Table<2>(std::make_index_sequence<kProductRows>());

// Elements of the patch that the plane has; zero elsewhere.
template <int kSize>
CSSP_AVX512_INLINE void LoadPatch(const float* plane, const Place& at,
                                  Vector* patch) {
  for (int i = 0; i < kSize; ++i) {
    for (int j = 0; j < kSize; ++j) {
      const int64_t y = at.y + i, x = at.x + j;
      const bool inside = y >= 0 && y < at.rows && x >= 0 && x < at.columns;
      patch[i * kSize + j] =
          inside ? _mm512_loadu_ps(plane + (y * at.columns + x) * kLanes)
                 : _mm512_setzero_ps();
    }
  }
}

// A dY A^T of one tile of the top's gradient.
template <int kOut>
CSSP_AVX512 void TopGradientOf(const float* plane, const Place& at, float* out,
                               int64_t step) {
  Vector patch[kOut * kOut], half[kTile * kOut];
  LoadPatch<kOut>(plane, at, patch);
  for (int x = 0; x < kOut; ++x) {
    LineAT<kOut>(patch + x, kOut, half + x, kOut);
  }
  const int to = static_cast<int>(step / kLanes);
  for (int y = 0; y < kTile; ++y) {
    LineAT<kOut>(half + y * kOut, 1,
                 reinterpret_cast<Vector*>(out + y * kTile * step), to);
  }
}

// A^T M A of one tile, plus `bias`, where the top has elements.
template <int kOut>
CSSP_AVX512 void TopOf(const float* products, int64_t step, const float* bias,
                       const Place& at, float* plane) {
  Vector half[kOut * kTile], top[kOut * kOut];
  const auto* m = reinterpret_cast<const Vector*>(products);
  const int from = static_cast<int>(step / kLanes);
  for (int x = 0; x < kTile; ++x) {
    LineA<kOut>(m + x * from, kTile * from, half + x, kTile);
  }
  for (int y = 0; y < kOut; ++y) {
    LineA<kOut>(half + y * kTile, 1, top + y * kOut, 1);
  }
  const Vector add = _mm512_loadu_ps(bias);
  for (int i = 0; i < kOut && at.y + i < at.rows; ++i) {
    for (int j = 0; j < kOut && at.x + j < at.columns; ++j) {
      _mm512_storeu_ps(plane + ((at.y + i) * at.columns + at.x + j) * kLanes,
                       Add(top[i * kOut + j], add));
    }
  }
}

CSSP_AVX512_INLINE __mmask16 MaskOf(const Filters& f) {
  return static_cast<__mmask16>((1u << f.lanes) - 1);
}

CSSP_AVX512_INLINE __m512i Offsets(const Filters& f) {
  const __m512i lane =
      _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  return _mm512_mullo_epi32(lane,
                            _mm512_set1_epi32(static_cast<int>(f.stride)));
}

// G g G^T.
template <int kKernel>
CSSP_AVX512 void FiltersOf(const float* filters, const Filters& f, float* out,
                           int64_t step) {
  constexpr int kSize = kKernel * kKernel;
  Vector g[kSize], half[kTile * kKernel];
  for (int i = 0; i < kSize; ++i) {
    g[i] = _mm512_mask_i32gather_ps(_mm512_setzero_ps(), MaskOf(f), Offsets(f),
                                    filters + (f.turned ? kSize - 1 - i : i),
                                    sizeof(float));
  }
  for (int x = 0; x < kKernel; ++x) {
    LineG<kKernel>(g + x, kKernel, half + x, kKernel);
  }
  const int to = static_cast<int>(step / kLanes);
  for (int y = 0; y < kTile; ++y) {
    LineG<kKernel>(half + y * kKernel, 1,
                   reinterpret_cast<Vector*>(out + y * kTile * step), to);
  }
}

// G^T dU G, into the filters' gradient.
template <int kKernel>
CSSP_AVX512 void GradientOf(const float* sums, int64_t step, const Filters& f,
                            bool add, float* gradient) {
  Vector half[kKernel * kTile], g[kKernel * kKernel];
  const auto* u = reinterpret_cast<const Vector*>(sums);
  const int from = static_cast<int>(step / kLanes);
  for (int x = 0; x < kTile; ++x) {
    LineGT<kKernel>(u + x * from, kTile * from, half + x, kTile);
  }
  for (int y = 0; y < kKernel; ++y) {
    LineGT<kKernel>(half + y * kTile, 1, g + y * kKernel, 1);
  }
  for (int i = 0; i < kKernel * kKernel; ++i) {
    if (add) {
      g[i] = Add(g[i], _mm512_mask_i32gather_ps(_mm512_setzero_ps(), MaskOf(f),
                                                Offsets(f), gradient + i,
                                                sizeof(float)));
    }
    _mm512_mask_i32scatter_ps(gradient + i, MaskOf(f), Offsets(f), g[i],
                              sizeof(float));
  }
}

}  // namespace

void MultiplyRows(Product p, int64_t rows, int blocks) {
  const auto& table = blocks == 1 ? kMultiply1 : kMultiply2;
  for (int64_t row = 0; row < rows; row += kProductRows) {
    table[std::min<int64_t>(kProductRows, rows - row) - 1](p);
    p.a += kProductRows * p.a_row;
    p.c += kProductRows * p.c_row;
  }
}

CSSP_AVX512 void TransformBottom(const float* plane, const Place& at,
                                 float* out, int64_t step) {
  Vector patch[kPoints], half[kPoints];
  LoadPatch<kTile>(plane, at, patch);
  for (int x = 0; x < kTile; ++x) LineB(patch + x, kTile, half + x, kTile);
  const int to = static_cast<int>(step / kLanes);
  for (int y = 0; y < kTile; ++y) {
    LineB(half + y * kTile, 1,
          reinterpret_cast<Vector*>(out + y * kTile * step), to);
  }
}

void TransformTopGradient(int kernel, const float* plane, const Place& at,
                          float* out, int64_t step) {
  const auto transform = kernel == 3 ? TopGradientOf<4> : TopGradientOf<2>;
  transform(plane, at, out, step);
}

void TransformTop(int kernel, const float* products, int64_t step,
                  const float* bias, const Place& at, float* plane) {
  const auto transform = kernel == 3 ? TopOf<4> : TopOf<2>;
  transform(products, step, bias, at, plane);
}

void TransformFilters(int kernel, const float* filters, const Filters& f,
                      float* out, int64_t step) {
  const auto transform = kernel == 3 ? FiltersOf<3> : FiltersOf<5>;
  transform(filters, f, out, step);
}

void TransformGradient(int kernel, const float* sums, int64_t step,
                       const Filters& f, bool add, float* gradient) {
  const auto transform = kernel == 3 ? GradientOf<3> : GradientOf<5>;
  transform(sums, step, f, add, gradient);
}

CSSP_AVX512 void SumPlane(const float* plane, int64_t positions, float* sum) {
  Vector total = _mm512_setzero_ps();
  for (int64_t p = 0; p < positions; ++p) {
    total = Add(total, _mm512_loadu_ps(plane + p * kLanes));
  }
  _mm512_storeu_ps(sum, total);
}

}  // namespace cssp::cpu
