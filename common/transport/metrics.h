// What a transport counts; made by main, passed in.
#ifndef CSSP_COMMON_TRANSPORT_METRICS_H_
#define CSSP_COMMON_TRANSPORT_METRICS_H_

#include "common/metrics/metrics.h"

namespace cssp {

// Thread-safe.  The registry is borrowed for its life.
struct TransportMetrics {
  explicit TransportMetrics(MetricsRegistry& registry);

  Counter* sent_messages;
  Counter* sent_bytes;       // headers and payloads
  Counter* failed_messages;  // OnSent said no
  Counter* received_messages;
  Counter* received_bytes;
  Counter* fetched_bytes;  // of them, read in the sender's memory
  Counter* refused_messages;  // OnArrival gave no memory
  Counter* accepted_connections;
  Counter* lost_connections;
  Gauge* unsent_bytes;  // payload memory between Send and OnSent
};

}  // namespace cssp

#endif  // CSSP_COMMON_TRANSPORT_METRICS_H_
