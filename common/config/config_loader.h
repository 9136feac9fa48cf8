// One proto message per process is its configuration.  Each layer overrides the
// one before: proto default < file < environment < --set.
#ifndef CSSP_COMMON_CONFIG_CONFIG_LOADER_H_
#define CSSP_COMMON_CONFIG_CONFIG_LOADER_H_

#include <google/protobuf/message.h>

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/config.pb.h"

namespace cssp {

struct ConfigSources {
  std::string file;                      // text proto; empty: none
  std::vector<std::string> environment;  // "NAME=value"; CSSP_* count
  std::vector<std::string> overrides;    // "lease.lease_ms=3"
};

// Where values came from: dotted path -> "file.conf:3", "env CSSP_ID", "--set".
// Paths that are not in it have the proto's default.
struct ConfigOrigins {
  std::map<std::string, std::string> origin;
  // Variables that name no field but nearly do: probably misspelt.
  std::vector<std::string> warnings;
};

// Merges all sources into *config.  InvalidArgument says where (file:line:col,
// the variable, or the override) and lists the known fields; NotFound: no such
// file.  In the environment CSSP_LEASE__LEASE_MS means lease.lease_ms.
absl::StatusOr<ConfigOrigins> LoadConfig(const ConfigSources& sources,
                                         google::protobuf::Message* config);

// Sets one field by dotted path; a string value is taken as it stands.
absl::Status SetByPath(absl::string_view path, const std::string& value,
                       google::protobuf::Message* message);

// Every field, nested ones dotted, as "path: value  # origin", a line each.
std::string PrintConfig(const google::protobuf::Message& config,
                        const ConfigOrigins& origins);

// Values in range and consistent with each other; the message names the field.
absl::Status Validate(const ServerConfig& config);
absl::Status Validate(const WorkerConfig& config);

}  // namespace cssp

#endif  // CSSP_COMMON_CONFIG_CONFIG_LOADER_H_
