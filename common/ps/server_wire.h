// Bodies of what a job's servers tell each other (kNorms, kContributors), on
// the wire and in a shard's log alike.
#ifndef CSSP_COMMON_PS_SERVER_WIRE_H_
#define CSSP_COMMON_PS_SERVER_WIRE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace cssp::ps {

// Norms are IEEE 754 doubles of 64 bits, contributors are ranks of 32 bits;
// both little-endian, one after the other, nothing else.
std::string EncodeNorms(absl::Span<const double> partials);
std::string EncodeContributors(absl::Span<const int32_t> ranks);

// Whether a body may have that many bytes: whole numbers, and no more than a
// message has room for, or than there are workers.
bool IsNormsSize(size_t bytes);
bool IsContributorsSize(size_t bytes, int workers);

// InvalidArgument: a size that cannot be.
absl::StatusOr<std::vector<double>> DecodeNorms(absl::Span<const uint8_t> body);
absl::StatusOr<std::vector<int32_t>> DecodeContributors(
    absl::Span<const uint8_t> body, int workers);

}  // namespace cssp::ps

#endif  // CSSP_COMMON_PS_SERVER_WIRE_H_
