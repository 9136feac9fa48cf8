// What kernels see: typed, formatted views on memory that others own.
#ifndef CSSP_COMMON_TENSOR_TENSOR_H_
#define CSSP_COMMON_TENSOR_TENSOR_H_

#include <cstddef>
#include <cstdint>

#include "common/tensor/shape.h"

namespace cssp {

enum class DType : uint8_t { kFloat32, kInt32, kUint8 };

size_t SizeOf(DType dtype);

// How elements lie in memory.  kCaffe is row-major over the shape.  The blocked
// formats hold 4-D activations as N, C/b, H, W, b with C rounded up to whole
// blocks; the padding lanes are always zero (a kernel that writes a blocked
// tensor keeps them so).
enum class Format : uint8_t { kCaffe, kBlocked8, kBlocked16 };

struct TensorDesc {
  Shape shape;
  DType dtype = DType::kFloat32;
  Format format = Format::kCaffe;

  // Elements held in memory, padding lanes included.
  int64_t stored_count() const;
  size_t bytes() const { return stored_count() * SizeOf(dtype); }
  friend bool operator==(const TensorDesc& a, const TensorDesc& b) {
    return a.shape == b.shape && a.dtype == b.dtype && a.format == b.format;
  }
};

// Value types: a description and memory, both borrowed for a step.  On a CUDA
// device `raw` is device memory.
struct ConstTensor {
  const TensorDesc* desc = nullptr;
  const void* raw = nullptr;

  const float* data() const { return static_cast<const float*>(raw); }
  const Shape& shape() const { return desc->shape; }
  int64_t count() const { return desc->shape.count(); }
};

struct Tensor {
  const TensorDesc* desc = nullptr;
  void* raw = nullptr;

  float* data() const { return static_cast<float*>(raw); }
  const Shape& shape() const { return desc->shape; }
  int64_t count() const { return desc->shape.count(); }
};

}  // namespace cssp

#endif  // CSSP_COMMON_TENSOR_TENSOR_H_
