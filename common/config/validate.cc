// Validate(...) of config_loader.h.
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/config/config_loader.h"

namespace cssp {
namespace {

absl::Status Bad(absl::string_view field, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("config: ", field, " ", why));
}

absl::Status CheckPort(absl::string_view field, int port, int lowest) {
  if (port >= lowest && port <= 65535) return absl::OkStatus();
  return Bad(field, absl::StrCat(port, " is not a port (", lowest, "..65535)"));
}

absl::Status CheckHostPort(absl::string_view field, absl::string_view address) {
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon != absl::string_view::npos && colon > 0 &&
      absl::SimpleAtoi(address.substr(colon + 1), &port) && port > 0 &&
      port <= 65535)
    return absl::OkStatus();
  return Bad(field, absl::StrCat("'", address,
                                 "' is not HOST:PORT, for example "
                                 "127.0.0.1:7070"));
}

bool IsId(absl::string_view id) {
  for (const char c : id)
    if (!absl::ascii_islower(c) && !absl::ascii_isdigit(c) && c != '-')
      return false;
  return !id.empty() && id.size() <= 63;
}

absl::Status CheckLease(const LeaseConfig& lease) {
  if (lease.lease_ms() < 200 || lease.lease_ms() > 3600 * 1000)
    return Bad("lease.lease_ms",
               absl::StrCat(lease.lease_ms(), " is not in 200..3600000"));
  if (lease.heartbeat_ms() < 10 || lease.heartbeat_ms() * 2 > lease.lease_ms())
    return Bad("lease.heartbeat_ms",
               absl::StrCat(lease.heartbeat_ms(),
                            " is not in 10..lease_ms/2: one lost heartbeat "
                            "would end a lease"));
  return absl::OkStatus();
}

}  // namespace

absl::Status Validate(const ServerConfig& config) {
  if (!IsId(config.id()))
    return Bad("id", absl::StrCat("'", config.id(),
                                  "' is not 1..63 of a-z, 0-9 and -"));
  if (config.bind_host().empty()) return Bad("bind_host", "is empty");
  RETURN_IF_ERROR(CheckPort("control_port", config.control_port(), 0));
  RETURN_IF_ERROR(CheckPort("data_port", config.data_port(), 0));
  RETURN_IF_ERROR(CheckPort("metrics_port", config.metrics_port(), -1));
  if (!config.coordinator().empty())
    RETURN_IF_ERROR(CheckHostPort("coordinator", config.coordinator()));
  if (config.state_dir().empty()) return Bad("state_dir", "is empty");
  RETURN_IF_ERROR(CheckLease(config.lease()));
  if (config.keep_checkpoints() < 1)
    return Bad("keep_checkpoints",
               absl::StrCat(config.keep_checkpoints(), " is less than 1"));
  const RecoveryConfig& recovery = config.recovery();
  for (const int64_t wait :
       {recovery.server_wait_ms(), recovery.worker_wait_ms(),
        recovery.coordinator_wait_ms(), recovery.grace_ms(),
        recovery.evaluator_wait_ms()})
    if (wait < 0) return Bad("recovery", "a wait is negative");
  if (!(recovery.checkpoint_seconds() >= 0))
    return Bad("recovery.checkpoint_seconds", "is negative");
  if (config.max_model_bytes() == 0) return Bad("max_model_bytes", "is 0");
  return absl::OkStatus();
}

absl::Status Validate(const WorkerConfig& config) {
  if (config.coordinator().empty())
    return Bad("coordinator", "is not set: give --coordinator HOST:PORT");
  RETURN_IF_ERROR(CheckHostPort("coordinator", config.coordinator()));
  if (config.job().empty()) return Bad("job", "is not set: give --job ID");
  if (config.rank() < -1)
    return Bad("rank", absl::StrCat(config.rank(), " is less than -1"));
  if (config.threads() < 0 || config.threads() > 4096)
    return Bad("threads",
               absl::StrCat(config.threads(), " is not in 0..4096"));
  RETURN_IF_ERROR(CheckPort("metrics_port", config.metrics_port(), -1));
  if (config.bind_host().empty()) return Bad("bind_host", "is empty");
  return absl::OkStatus();
}

}  // namespace cssp
