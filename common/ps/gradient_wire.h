// How a job's gradients travel, as a person names it.
#ifndef CSSP_COMMON_PS_GRADIENT_WIRE_H_
#define CSSP_COMMON_PS_GRADIENT_WIRE_H_

#include <string>

#include "absl/status/statusor.h"
#include "proto/control.pb.h"

namespace cssp::ps {

// In either case.  InvalidArgument: neither FP32 nor BF16.
absl::StatusOr<control::GradientWire> ParseGradientWire(
    const std::string& name);

}  // namespace cssp::ps

#endif  // CSSP_COMMON_PS_GRADIENT_WIRE_H_
