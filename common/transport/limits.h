// Checks that every transport makes alike, so that the errors read alike.
#ifndef CSSP_COMMON_TRANSPORT_LIMITS_H_
#define CSSP_COMMON_TRANSPORT_LIMITS_H_

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "common/transport/transport.h"

namespace cssp {

inline absl::Status CheckLengths(const TransportOptions& options,
                                 size_t header_bytes, size_t payload_bytes) {
  if (header_bytes > options.max_header_bytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("a header of %d bytes exceeds the limit of %d",
                        header_bytes, options.max_header_bytes));
  }
  if (payload_bytes > options.max_payload_bytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("a payload of %d bytes exceeds the limit of %d",
                        payload_bytes, options.max_payload_bytes));
  }
  return absl::OkStatus();
}

inline absl::Status EndpointGone(EndpointId endpoint) {
  return absl::UnavailableError(
      absl::StrFormat("endpoint %d is gone", endpoint));
}

inline absl::Status TooManyEndpoints(const TransportOptions& options) {
  return absl::ResourceExhaustedError(absl::StrFormat(
      "%d connections are open, the limit", options.max_endpoints));
}

}  // namespace cssp

#endif  // CSSP_COMMON_TRANSPORT_LIMITS_H_
