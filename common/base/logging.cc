#include "common/base/logging.h"

#include <cstdio>
#include <string>

#include "absl/strings/str_replace.h"

namespace cssp {

void InitLogging(const char* program) {
  FLAGS_logtostderr = true;
  FLAGS_log_year_in_prefix = false;  // as Caffe's logs have it
  google::InitGoogleLogging(program);
}

int ExitCodeFor(absl::string_view program, const absl::Status& status) {
  if (status.ok()) return 0;
  const std::string line =
      absl::StrReplaceAll(status.message(), {{"\n", " | "}});
  std::fprintf(stderr, "%.*s: %s\n", static_cast<int>(program.size()),
               program.data(), line.c_str());
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kUnauthenticated:
      return 2;
    default:
      return 1;
  }
}

}  // namespace cssp
