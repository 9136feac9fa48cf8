#include "common/tensor/tensor.h"

namespace cssp {

size_t SizeOf(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
    case DType::kInt32:
      return 4;
    case DType::kUint8:
      return 1;
  }
  return 0;
}

int64_t TensorDesc::stored_count() const {
  if (format == Format::kCaffe) return shape.count();
  const int64_t block = format == Format::kBlocked8 ? 8 : 16;
  const int64_t channels = (shape.dim(1) + block - 1) / block * block;
  return shape.dim(0) * channels * shape.count_from(2);
}

}  // namespace cssp
