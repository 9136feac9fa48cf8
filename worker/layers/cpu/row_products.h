// Products of a few rows with a big matrix that is read once: an InnerProduct's
// forward at the batch sizes of training, where a general sgemm packs the
// matrix first and so moves it three times.
#ifndef CSSP_WORKER_LAYERS_CPU_ROW_PRODUCTS_H_
#define CSSP_WORKER_LAYERS_CPU_ROW_PRODUCTS_H_

#include <cstdint>

namespace cssp::cpu {

// This processor has AVX-512 and the rows are few.
bool RowProductsPay(int64_t rows);

// y(i, o) = bias(o) + sum over c < inputs of x(i, c) * weight(o, c), all
// row-major and dense; `bias` may be null.  Each element is one sum in a fixed
// order, whatever the number of threads.  REQUIRES: RowProductsPay(rows).
void RowProducts(int64_t rows, int64_t outputs, int64_t inputs, const float* x,
                 const float* weight, const float* bias, float* y);

}  // namespace cssp::cpu

#endif  // CSSP_WORKER_LAYERS_CPU_ROW_PRODUCTS_H_
