// The state of lr_policy plateau inside a SolverState: three fields of ours.
// Files of before they were declared have two of them under the numbers of
// NVIDIA's fork, 5 and 6, which caffe.proto leaves alone.
#ifndef CSSP_COMMON_MODEL_FILE_PLATEAU_FIELDS_H_
#define CSSP_COMMON_MODEL_FILE_PLATEAU_FIELDS_H_

#include <cstdint>
#include <optional>

#include "proto/caffe.pb.h"

namespace cssp {

struct PlateauFields {
  float minimum_loss = 0;
  int64_t last_event = 0;  // iter_last_event
  float smoothed_loss = 0;
};

void SetPlateauFields(const PlateauFields& fields, caffe::SolverState* state);
// Nothing where one of them is missing, or negative where it cannot be.
std::optional<PlateauFields> GetPlateauFields(const caffe::SolverState& state);

}  // namespace cssp

#endif  // CSSP_COMMON_MODEL_FILE_PLATEAU_FIELDS_H_
