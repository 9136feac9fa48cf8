// Logging is glog: Caffe's prefix ("I1017 07:36:34.248730 31333 file.cc:298]")
// is what people's scripts parse.
#ifndef CSSP_COMMON_BASE_LOGGING_H_
#define CSSP_COMMON_BASE_LOGGING_H_

#include <glog/logging.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace cssp {

// To be called once by main, first: logs go to stderr.
void InitLogging(const char* program);

// Prints "<program>: <message>" as one line on stderr and gives the exit code
// that scripts test: 0 ok; 2 something the caller can mend: bad input, an absent
// file or job, a port in use, nobody at the given address; 1 anything else.
int ExitCodeFor(absl::string_view program, const absl::Status& status);

}  // namespace cssp

#endif  // CSSP_COMMON_BASE_LOGGING_H_
