// Counts what a transport carries.
#ifndef CSSP_COMMON_TRANSPORT_METERED_TRANSPORT_H_
#define CSSP_COMMON_TRANSPORT_METERED_TRANSPORT_H_

#include <functional>
#include <memory>

#include "common/transport/metrics.h"
#include "common/transport/transport.h"

namespace cssp {

// Decorates the transport that `make_inner` builds around the handler it is
// given.  Handler and metrics are borrowed for its life.  Thread-confined, as
// the inner transport; Wake is thread-safe.
absl::StatusOr<std::unique_ptr<Transport>> MakeMeteredTransport(
    const std::function<absl::StatusOr<std::unique_ptr<Transport>>(
        TransportHandler&)>& make_inner,
    const TransportMetrics& metrics, TransportHandler& handler);

}  // namespace cssp

#endif  // CSSP_COMMON_TRANSPORT_METERED_TRANSPORT_H_
