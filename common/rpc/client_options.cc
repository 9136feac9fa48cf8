#include "common/rpc/client_options.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace cssp {

bool RetryPolicy::Retryable(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsResourceExhausted(status);
}

absl::Duration RetryPolicy::Backoff(int attempt) const {
  const double factor = std::pow(multiplier, std::min(attempt, 64));
  return std::min(maximum, initial * factor);
}

absl::Status CheckAddress(absl::string_view what, absl::string_view address) {
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon == absl::string_view::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 1 ||
      port > 65535)
    return absl::InvalidArgumentError(
        absl::StrCat(what, " address '", address,
                     "' is not HOST:PORT, for example 127.0.0.1:7070"));
  return absl::OkStatus();
}

}  // namespace cssp
