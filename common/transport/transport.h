// Messages between processes: header + payload, in polled, single-threaded
// style.  UCX is one implementation; others run in one process for tests.
#ifndef CSSP_COMMON_TRANSPORT_TRANSPORT_H_
#define CSSP_COMMON_TRANSPORT_TRANSPORT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace cssp {

// Names a peer connection within one Transport; never reused.
using EndpointId = uint64_t;
inline constexpr EndpointId kNoEndpoint = 0;

// Receives a transport's events, inside Poll, on the polling thread.  May call
// Send and Close; must not call Poll.
class TransportHandler {
 public:
  virtual ~TransportHandler() = default;

  // A peer connected to our listener.
  virtual void OnAccept(EndpointId peer) = 0;
  // A message is arriving.  Gives the memory that its payload is to land in
  // (payload_bytes long, untouched until OnMessage), or null: the message is
  // refused, its payload dropped, and OnMessage is not called.
  // `header` is valid during the call only; both lengths are the peer's claim,
  // already bounded by TransportOptions.
  virtual uint8_t* OnArrival(EndpointId peer, absl::Span<const uint8_t> header,
                             size_t payload_bytes) = 0;
  // The payload is complete in the memory that OnArrival gave (also called for
  // empty payloads).  `header` as before.
  virtual void OnMessage(EndpointId peer, absl::Span<const uint8_t> header,
                         absl::Span<uint8_t> payload) = 0;
  // The memory of a Send may be reused.  A status other than OK: the message
  // may or may not have arrived.
  virtual void OnSent(EndpointId peer, uint64_t token, absl::Status status) = 0;
  // The connection is gone (the peer closed, died or was unreachable); called
  // once; pending sends have been reported before it.  Arrivals begun but not
  // finished are dropped: their memory is free again.
  virtual void OnDisconnect(EndpointId peer, absl::Status why) = 0;
  // An arrival ended without OnMessage because of a Close: the memory that
  // OnArrival gave for it is free again.  After OnDisconnect all memory is,
  // whether this was called or not.
  virtual void OnArrivalDropped(EndpointId peer, uint8_t* memory) {}
};

struct TransportOptions {
  // Interface names for UCX ("lo", "eth0", "mlx5_0:1"); empty: all.
  std::string devices;
  // UCX_TLS-like list; empty: our default (shared memory within a host, RDMA,
  // TCP).
  std::string transports;
  // Addresses that will be connected to, as far as known.  Where another Unix
  // user listens at one of them on this host, the default list goes without
  // shared memory: the two could not map one another's.
  std::vector<std::string> peers;
  size_t max_header_bytes = 256;
  size_t max_payload_bytes = size_t{4} << 20;
  size_t max_endpoints = 4096;
  // A peer that connected to us and says nothing valid for so long is dropped.
  // (Seconds, because a starved process on a busy host is no stranger.)  The
  // connecting side waits three times as long.
  absl::Duration handshake_timeout = absl::Seconds(5);
};

// Thread-confined: the thread that polls.  Exception: Wake.
class Transport {
 public:
  virtual ~Transport() = default;

  // Listens on host:port (port 0: any).  Gives the address peers connect to.
  // A port in use: AlreadyExists that names it.
  virtual absl::StatusOr<std::string> Listen(const std::string& host,
                                             int port) = 0;
  // Begins a connection.  Failure shows as OnDisconnect.
  virtual absl::StatusOr<EndpointId> Connect(const std::string& address) = 0;
  // Sends header + payload.  The header is copied; `payload` must stay as it is
  // until OnSent(token).  Messages on one endpoint may overtake one another.
  // Unavailable when the endpoint is gone (no OnSent then).
  virtual absl::Status Send(EndpointId peer, absl::Span<const uint8_t> header,
                            absl::Span<const uint8_t> payload,
                            uint64_t token) = 0;
  // Closes at once; no callbacks for this endpoint after it returns, except,
  // from later Polls, OnSent and OnArrivalDropped for memory still in use.
  virtual void Close(EndpointId peer) = 0;
  // Makes progress, calls the handler; gives the number of events.
  virtual int Poll() = 0;
  // Blocks until there may be something to Poll, Wake was called, or the
  // timeout.
  virtual void Wait(absl::Duration timeout) = 0;
  // Thread-safe: ends a Wait, now or the next.
  virtual void Wake() = 0;
  // Thread-safe.  Zeroed memory on cache-line boundaries that a receiver on
  // this host copies from directly when it is sent: two copies less.  Any other
  // memory may be sent, too.  May outlive the transport.
  virtual std::shared_ptr<uint8_t> AllocateMemory(size_t bytes);
  // Payload bytes that were received by reading the sender's memory.
  virtual int64_t fetched_bytes() const { return 0; }
  // Inside OnMessage: the CRC-32C of its payload, if the transport copied the
  // payload and formed it on the way.
  virtual std::optional<uint32_t> payload_crc() const { return std::nullopt; }
  // What carries this endpoint ("posix, tcp/lo"), for logs.
  virtual std::string Describe(EndpointId peer) const = 0;
};

// Real: UCX active messages.  The handler is borrowed for the transport's life.
absl::StatusOr<std::unique_ptr<Transport>> MakeUcxTransport(
    const TransportOptions& options, TransportHandler& handler);

}  // namespace cssp

#endif  // CSSP_COMMON_TRANSPORT_TRANSPORT_H_
