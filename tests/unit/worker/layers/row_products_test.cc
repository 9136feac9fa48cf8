#include "worker/layers/cpu/row_products.h"

#include <omp.h>

#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "tests/testing/layer_runner.h"

namespace cssp::cpu {
namespace {

using testing::Normal;
using testing::Values;

Values Compute(int64_t rows, int64_t outputs, int64_t inputs, bool bias,
               int threads) {
  const int before = omp_get_max_threads();
  omp_set_num_threads(threads);
  const Values x = Normal(rows * inputs, 1), w = Normal(outputs * inputs, 2),
               b = Normal(outputs, 3);
  Values y(rows * outputs, NAN);
  RowProducts(rows, outputs, inputs, x.data(), w.data(),
              bias ? b.data() : nullptr, y.data());
  omp_set_num_threads(before);
  return y;
}

// Every remainder of rows, outputs and inputs.
TEST(RowProducts, AreTheDefinition) {
  if (!RowProductsPay(1)) GTEST_SKIP() << "no AVX-512";
  for (int64_t rows : {1, 2, 3, 4, 7, 16})
    for (int64_t outputs : {1, 2, 3, 4, 10, 33})
      for (int64_t inputs : {1, 15, 16, 17, 400})
        for (bool bias : {false, true}) {
          const Values x = Normal(rows * inputs, 1),
                       w = Normal(outputs * inputs, 2), b = Normal(outputs, 3);
          const Values y = Compute(rows, outputs, inputs, bias, 2);
          for (int64_t i = 0; i < rows; ++i)
            for (int64_t o = 0; o < outputs; ++o) {
              double sum = bias ? b[o] : 0, size = std::abs(sum);
              for (int64_t c = 0; c < inputs; ++c) {
                sum += double{x[i * inputs + c]} * w[o * inputs + c];
                size += std::abs(double{x[i * inputs + c]} * w[o * inputs + c]);
              }
              ASSERT_NEAR(y[i * outputs + o], sum, 1e-6 * size + 1e-7);
            }
        }
}

TEST(RowProducts, AnyNumberOfThreadsGivesTheSameBits) {
  if (!RowProductsPay(1)) GTEST_SKIP() << "no AVX-512";
  EXPECT_EQ(Compute(16, 100, 333, true, 1), Compute(16, 100, 333, true, 3));
}

TEST(RowProducts, AreForFewRows) { EXPECT_FALSE(RowProductsPay(1000)); }

}  // namespace
}  // namespace cssp::cpu
