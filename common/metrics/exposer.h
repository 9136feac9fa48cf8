// Serves a MetricsRegistry and the process_* metrics at
// http://host:port/metrics. Plain HTTP: the port belongs on loopback or a
// private interface.
#ifndef CSSP_COMMON_METRICS_EXPOSER_H_
#define CSSP_COMMON_METRICS_EXPOSER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/metrics/metrics.h"

namespace cssp {

// Thread-safe: its own two threads only read the registry.
class MetricsExposer {
 public:
  // Begins to serve (port 0: any).  The registry is borrowed for the exposer's
  // life.  AlreadyExists, naming host:port, when it cannot be bound.
  static absl::StatusOr<std::unique_ptr<MetricsExposer>> Create(
      const std::string& host, int port, const MetricsRegistry& registry);
  virtual ~MetricsExposer() = default;

  // The port bound, and "host:port".
  virtual int port() const = 0;
  virtual const std::string& address() const = 0;
};

}  // namespace cssp

#endif  // CSSP_COMMON_METRICS_EXPOSER_H_
