#include "worker/layers/cpu/row_products.h"

#include <immintrin.h>

#include <algorithm>

namespace cssp::cpu {
namespace {

constexpr int kLanes = 16;
// Sums held in registers: weights' rows times x's rows.
constexpr int kOutputs = 4, kRows = 4;
// Beyond that sgemm's packing is worth its while.
constexpr int64_t kMostRows = 64;

struct Block {
  const float* x;       // kRow rows, `inputs` apart
  const float* weight;  // kOutput rows, `inputs` apart
  int64_t inputs;
  float sums[kRows][kOutputs];
};

template <int kRow, int kOutput>
__attribute__((target("avx512f"))) void Multiply(Block& b) {
  __m512 sum[kRow][kOutput];
  for (int r = 0; r < kRow; ++r)
    for (int o = 0; o < kOutput; ++o) sum[r][o] = _mm512_setzero_ps();
  for (int64_t c = 0; c < b.inputs; c += kLanes) {
    const int left = static_cast<int>(std::min<int64_t>(b.inputs - c, kLanes));
    const auto mask = static_cast<__mmask16>((1u << left) - 1);
    __m512 weight[kOutput];
#pragma GCC unroll 4
    for (int o = 0; o < kOutput; ++o)
      weight[o] = _mm512_maskz_loadu_ps(mask, b.weight + o * b.inputs + c);
#pragma GCC unroll 4
    for (int r = 0; r < kRow; ++r) {
      const __m512 x = _mm512_maskz_loadu_ps(mask, b.x + r * b.inputs + c);
#pragma GCC unroll 4
      for (int o = 0; o < kOutput; ++o)
        sum[r][o] = _mm512_fmadd_ps(x, weight[o], sum[r][o]);
    }
  }
  for (int r = 0; r < kRow; ++r) {
    for (int o = 0; o < kOutput; ++o) {
      alignas(64) float lanes[kLanes];
      _mm512_store_ps(lanes, sum[r][o]);
      float total = 0;
      for (float lane : lanes) total += lane;
      b.sums[r][o] = total;
    }
  }
}

using Function = void (*)(Block&);
constexpr Function kMultiply[kRows][kOutputs] = {
    {Multiply<1, 1>, Multiply<1, 2>, Multiply<1, 3>, Multiply<1, 4>},
    {Multiply<2, 1>, Multiply<2, 2>, Multiply<2, 3>, Multiply<2, 4>},
    {Multiply<3, 1>, Multiply<3, 2>, Multiply<3, 3>, Multiply<3, 4>},
    {Multiply<4, 1>, Multiply<4, 2>, Multiply<4, 3>, Multiply<4, 4>}};

}  // namespace

bool RowProductsPay(int64_t rows) {
  return rows <= kMostRows && __builtin_cpu_supports("avx512f");
}

void RowProducts(int64_t rows, int64_t outputs, int64_t inputs, const float* x,
                 const float* weight, const float* bias, float* y) {
#pragma omp parallel for schedule(static)
  for (int64_t o = 0; o < outputs; o += kOutputs) {
    const int64_t wide = std::min<int64_t>(kOutputs, outputs - o);
    for (int64_t r = 0; r < rows; r += kRows) {
      const int64_t high = std::min<int64_t>(kRows, rows - r);
      Block block{x + r * inputs, weight + o * inputs, inputs, {}};
      kMultiply[high - 1][wide - 1](block);
      for (int64_t i = 0; i < high; ++i)
        for (int64_t j = 0; j < wide; ++j)
          y[(r + i) * outputs + o + j] =
              block.sums[i][j] + (bias != nullptr ? bias[o + j] : 0);
    }
  }
}

}  // namespace cssp::cpu
