// The arithmetic of winograd_tile.cc, for AVX-512: one axis of each transform,
// and products held in registers.
#ifndef CSSP_WORKER_LAYERS_CPU_WINOGRAD_AVX512_H_
#define CSSP_WORKER_LAYERS_CPU_WINOGRAD_AVX512_H_

#include <immintrin.h>

#include <cstdint>

#include "worker/layers/cpu/winograd_tile.h"

#define CSSP_AVX512 __attribute__((target("avx512f")))
#define CSSP_AVX512_INLINE \
  __attribute__((target("avx512f"), always_inline)) inline

namespace cssp::cpu {

using Vector = __m512;

CSSP_AVX512_INLINE Vector Set(float value) { return _mm512_set1_ps(value); }

// a * b + c.
CSSP_AVX512_INLINE Vector Fma(float a, Vector b, Vector c) {
  return _mm512_fmadd_ps(Set(a), b, c);
}
CSSP_AVX512_INLINE Vector Scale(float a, Vector b) {
  return _mm512_mul_ps(Set(a), b);
}
CSSP_AVX512_INLINE Vector Add(Vector a, Vector b) {
  return _mm512_add_ps(a, b);
}
CSSP_AVX512_INLINE Vector Sub(Vector a, Vector b) {
  return _mm512_sub_ps(a, b);
}

// One axis of each transform; element i of a line is `step` vectors away from
// element i - 1.

// B^T: 6 -> 6.
CSSP_AVX512_INLINE void LineB(const Vector* d, int from, Vector* t, int to) {
  const Vector d0 = d[0], d1 = d[from], d2 = d[2 * from], d3 = d[3 * from],
               d4 = d[4 * from], d5 = d[5 * from];
  const Vector a = Fma(-4, d2, d4), b = Fma(-4, d1, d3);
  const Vector c = Sub(d4, d2), e = Scale(2, Sub(d3, d1));
  t[0] = Fma(4, d0, Fma(-5, d2, d4));
  t[to] = Add(a, b);
  t[2 * to] = Sub(a, b);
  t[3 * to] = Add(c, e);
  t[4 * to] = Sub(c, e);
  t[5 * to] = Fma(4, d1, Fma(-5, d3, d5));
}

// A^T: 6 -> m.
template <int kOut>
CSSP_AVX512_INLINE void LineA(const Vector* m, int from, Vector* y, int to) {
  const Vector s1 = Add(m[from], m[2 * from]), d1 = Sub(m[from], m[2 * from]);
  const Vector s2 = Add(m[3 * from], m[4 * from]),
               d2 = Sub(m[3 * from], m[4 * from]);
  y[0] = Add(m[0], Add(s1, s2));
  if constexpr (kOut == 2) {
    y[to] = Add(Fma(2, d2, d1), m[5 * from]);
  } else {
    y[to] = Fma(2, d2, d1);
    y[2 * to] = Fma(4, s2, s1);
    y[3 * to] = Add(Fma(8, d2, d1), m[5 * from]);
  }
}

// A: m -> 6.
template <int kOut>
CSSP_AVX512_INLINE void LineAT(const Vector* y, int from, Vector* m, int to) {
  const Vector y0 = y[0], y1 = y[from];
  Vector even1 = y0, odd1 = y1, even2 = y0, odd2 = Scale(2, y1), last = y1;
  if constexpr (kOut == 4) {
    const Vector y2 = y[2 * from];
    last = y[3 * from];
    even1 = Add(even1, y2);
    odd1 = Add(odd1, last);
    even2 = Fma(4, y2, even2);
    odd2 = Fma(8, last, odd2);
  }
  m[0] = y0;
  m[to] = Add(even1, odd1);
  m[2 * to] = Sub(even1, odd1);
  m[3 * to] = Add(even2, odd2);
  m[4 * to] = Sub(even2, odd2);
  m[5 * to] = last;
}

// G: r -> 6.
template <int kKernel>
CSSP_AVX512_INLINE void LineG(const Vector* g, int from, Vector* u, int to) {
  const Vector g0 = g[0], g1 = g[from], g2 = g[2 * from];
  Vector even1 = Add(g0, g2), odd1 = g1;
  Vector even2 = Fma(4, g2, g0), odd2 = Scale(2, g1), last = g2;
  if constexpr (kKernel == 5) {
    const Vector g3 = g[3 * from];
    last = g[4 * from];
    even1 = Add(even1, last);
    odd1 = Add(odd1, g3);
    even2 = Fma(16, last, even2);
    odd2 = Fma(8, g3, odd2);
  }
  u[0] = Scale(1.0f / 4, g0);
  u[to] = Scale(-1.0f / 6, Add(even1, odd1));
  u[2 * to] = Scale(-1.0f / 6, Sub(even1, odd1));
  u[3 * to] = Scale(1.0f / 24, Add(even2, odd2));
  u[4 * to] = Scale(1.0f / 24, Sub(even2, odd2));
  u[5 * to] = last;
}

// G^T: 6 -> r.
template <int kKernel>
CSSP_AVX512_INLINE void LineGT(const Vector* u, int from, Vector* g, int to) {
  const Vector s1 = Scale(-1.0f / 6, Add(u[from], u[2 * from]));
  const Vector d1 = Scale(-1.0f / 6, Sub(u[from], u[2 * from]));
  const Vector s2 = Scale(1.0f / 24, Add(u[3 * from], u[4 * from]));
  const Vector d2 = Scale(1.0f / 24, Sub(u[3 * from], u[4 * from]));
  g[0] = Fma(1.0f / 4, u[0], Add(s1, s2));
  g[to] = Fma(2, d2, d1);
  if constexpr (kKernel == 3) {
    g[2 * to] = Add(Fma(4, s2, s1), u[5 * from]);
  } else {
    g[2 * to] = Fma(4, s2, s1);
    g[3 * to] = Fma(8, d2, d1);
    g[4 * to] = Add(Fma(16, s2, s1), u[5 * from]);
  }
}

// A product of `kRows` rows and `kBlocks` blocks of columns.
template <int kRows, int kBlocks>
CSSP_AVX512 void Multiply(const Product& p) {
  Vector sum[kRows][kBlocks];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
    for (int q = 0; q < kBlocks; ++q)
      sum[r][q] = p.add ? _mm512_loadu_ps(p.c + r * p.c_row + q * kLanes)
                        : _mm512_setzero_ps();
  const float* a = p.a;
  const float* b = p.b;
  const int64_t a_row = p.a_row, b_block = p.b_block;
  for (int64_t i = 0; i < p.reduce; ++i) {
    Vector right[kBlocks];
#pragma GCC unroll 2
    for (int q = 0; q < kBlocks; ++q)
      right[q] = _mm512_load_ps(b + q * b_block);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vector left = Set(a[r * a_row]);
#pragma GCC unroll 2
      for (int q = 0; q < kBlocks; ++q)
        sum[r][q] = _mm512_fmadd_ps(left, right[q], sum[r][q]);
    }
    a += p.a_reduce;
    b += p.b_reduce;
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
    for (int q = 0; q < kBlocks; ++q)
      _mm512_storeu_ps(p.c + r * p.c_row + q * kLanes, sum[r][q]);
}

}  // namespace cssp::cpu

#endif  // CSSP_WORKER_LAYERS_CPU_WINOGRAD_AVX512_H_
