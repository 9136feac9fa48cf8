// How near two names are, for "did you mean".
#ifndef CSSP_COMMON_BASE_EDIT_DISTANCE_H_
#define CSSP_COMMON_BASE_EDIT_DISTANCE_H_

#include "absl/strings/string_view.h"

namespace cssp {

// Edits (insert, delete, replace) that turn a into b; takes time a * b.
int EditDistance(absl::string_view a, absl::string_view b);

}  // namespace cssp

#endif  // CSSP_COMMON_BASE_EDIT_DISTANCE_H_
