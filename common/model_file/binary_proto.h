// Binary protobuf files: bounded when read, atomic when written.
#ifndef CSSP_COMMON_MODEL_FILE_BINARY_PROTO_H_
#define CSSP_COMMON_MODEL_FILE_BINARY_PROTO_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"

namespace cssp {

// Protobuf's own limit on one message.
constexpr int64_t kMaxProtoBytes = (int64_t{1} << 31) - 1;

// `what` names the kind of file in messages ("caffemodel").  DataLoss: empty,
// truncated or otherwise no such message.  *message is empty on an error.
absl::Status ReadBinaryProto(const std::string& path, int64_t limit,
                             absl::string_view what,
                             google::protobuf::Message* message);

// InvalidArgument beyond kMaxProtoBytes, with `remedy` appended.
absl::Status WriteBinaryProto(const google::protobuf::Message& message,
                              absl::string_view remedy,
                              const std::string& path);

}  // namespace cssp

#endif  // CSSP_COMMON_MODEL_FILE_BINARY_PROTO_H_
