// The state of lr_policy plateau inside a SolverState.  Its numbers are those
// of NVIDIA's fork (5 and 6) and one of ours; caffe.proto does not declare
// them, so they travel as unknown fields, which every copy and file of the
// message keeps.
#ifndef CSSP_COMMON_MODEL_FILE_PLATEAU_FIELDS_H_
#define CSSP_COMMON_MODEL_FILE_PLATEAU_FIELDS_H_

#include <cstdint>
#include <optional>

#include "proto/caffe.pb.h"

namespace cssp {

struct PlateauFields {
  float minimum_loss = 0;   // 5, fixed32
  int64_t last_event = 0;   // 6, varint: iter_last_event
  float smoothed_loss = 0;  // 10000, fixed32
};

// Adds the fields.  REQUIRES: they are not there yet.
void SetPlateauFields(const PlateauFields& fields, caffe::SolverState* state);
// Nothing where one of them is missing.
std::optional<PlateauFields> GetPlateauFields(const caffe::SolverState& state);

}  // namespace cssp

#endif  // CSSP_COMMON_MODEL_FILE_PLATEAU_FIELDS_H_
