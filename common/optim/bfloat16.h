// bfloat16: the upper half of a float, for gradients on the wire.
#ifndef CSSP_COMMON_OPTIM_BFLOAT16_H_
#define CSSP_COMMON_OPTIM_BFLOAT16_H_

#include <cstdint>

#include "absl/types/span.h"

namespace cssp {

// Rounds to the nearest, ties to even; a NaN stays one, denormals stay.  The
// same bits on every processor (the instruction for it flushes denormals).
// REQUIRES: equal lengths, no overlap.
void PackBf16(absl::Span<const float> values, absl::Span<uint16_t> packed);

// Widens in place: `values` holds, in its second half, as many bfloat16.
void UnpackBf16InPlace(absl::Span<float> values);

}  // namespace cssp

#endif  // CSSP_COMMON_OPTIM_BFLOAT16_H_
