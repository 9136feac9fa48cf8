// Propagation of absl::Status: the macros that Abseil 20220623 does not ship.
#ifndef CSSP_COMMON_BASE_STATUS_MACROS_H_
#define CSSP_COMMON_BASE_STATUS_MACROS_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace cssp {

// Adds context outward: "lenet.prototxt: layer 'conv1': <status's message>".
inline absl::Status Annotate(const absl::Status& status,
                             absl::string_view context) {
  if (status.ok()) return status;
  return absl::Status(status.code(),
                      absl::StrCat(context, ": ", status.message()));
}

}  // namespace cssp

#define CSSP_CONCAT_INNER(a, b) a##b
#define CSSP_CONCAT(a, b) CSSP_CONCAT_INNER(a, b)

#define RETURN_IF_ERROR(expr)                       \
  do {                                              \
    if (absl::Status status_ = (expr); !status_.ok()) return status_; \
  } while (false)

#define ASSIGN_OR_RETURN(lhs, expr) \
  ASSIGN_OR_RETURN_IMPL(CSSP_CONCAT(status_or_, __LINE__), lhs, expr)
#define ASSIGN_OR_RETURN_IMPL(statusor, lhs, expr)  \
  auto statusor = (expr);                           \
  if (!statusor.ok()) return std::move(statusor).status(); \
  lhs = *std::move(statusor)

#endif  // CSSP_COMMON_BASE_STATUS_MACROS_H_
