// What a summed loss is divided by.
#ifndef CSSP_WORKER_LAYERS_LOSS_NORMALIZER_H_
#define CSSP_WORKER_LAYERS_LOSS_NORMALIZER_H_

#include <cstdint>

#include "common/device/device_function.h"
#include "proto/caffe.pb.h"

namespace cssp {

// The mode a loss_param asks for: `normalization` if given, else the deprecated
// `normalize` (false: BATCH_SIZE), else `fallback`.
inline caffe::LossParameter::NormalizationMode LossNormalization(
    const caffe::LossParameter& p,
    caffe::LossParameter::NormalizationMode fallback) {
  if (p.has_normalization()) return p.normalization();
  if (p.has_normalize()) {
    return p.normalize() ? caffe::LossParameter::VALID
                         : caffe::LossParameter::BATCH_SIZE;
  }
  return fallback;
}

// At least 1, as in Caffe: a batch of ignored labels has loss 0, not nan.
CSSP_DEVICE_FUNCTION inline double LossDivisor(
    caffe::LossParameter::NormalizationMode mode, int64_t items,
    int64_t positions, int64_t valid) {
  int64_t divisor = 1;
  switch (mode) {
    case caffe::LossParameter::FULL:
      divisor = items * positions;
      break;
    case caffe::LossParameter::VALID:
      divisor = valid;
      break;
    case caffe::LossParameter::BATCH_SIZE:
      divisor = items;
      break;
    case caffe::LossParameter::NONE:
      break;
  }
  return divisor < 1 ? 1 : static_cast<double>(divisor);
}

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_LOSS_NORMALIZER_H_
