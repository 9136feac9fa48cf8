// transport_peer ADDRESS TRANSPORTS: connects, keeps four 4 MiB messages under
// way to the server, and takes what it sends; for ever.  Made to be killed.
#include <cstdio>
#include <memory>
#include <vector>

#include "common/base/logging.h"
#include "common/transport/transport.h"

namespace cssp {
namespace {

// Thread-confined: main.
class Peer final : public TransportHandler {
 public:
  absl::Status Run(const std::string& address, const std::string& transports) {
    TransportOptions options;
    options.devices = "lo";
    options.transports = transports;
    absl::StatusOr<std::unique_ptr<Transport>> transport =
        MakeUcxTransport(options, *this);
    if (!transport.ok()) return transport.status();
    transport_ = *std::move(transport);
    absl::StatusOr<EndpointId> server = transport_->Connect(address);
    if (!server.ok()) return server.status();
    for (int i = 0; i < 4; ++i) Send(*server, i);
    while (status_.ok()) {
      if (transport_->Poll() == 0) transport_->Wait(absl::Seconds(1));
    }
    return status_;
  }

 private:
  void Send(EndpointId server, uint64_t token) {
    const uint8_t header[] = {'p', 'u', 's', 'h'};
    const absl::Status sent = transport_->Send(server, header, payload_, token);
    if (!sent.ok()) status_ = sent;
  }
  void OnAccept(EndpointId) override {}
  uint8_t* OnArrival(EndpointId, absl::Span<const uint8_t>,
                     size_t bytes) override {
    return bytes <= arena_.size() ? arena_.data() : nullptr;
  }
  void OnMessage(EndpointId, absl::Span<const uint8_t>,
                 absl::Span<uint8_t>) override {}
  void OnSent(EndpointId server, uint64_t token, absl::Status status) override {
    if (status.ok()) Send(server, token);
  }
  void OnDisconnect(EndpointId, absl::Status why) override { status_ = why; }

  const std::vector<uint8_t> payload_ = std::vector<uint8_t>(4 << 20, 7);
  std::vector<uint8_t> arena_ = std::vector<uint8_t>(4 << 20);
  std::unique_ptr<Transport> transport_;
  absl::Status status_;
};

}  // namespace
}  // namespace cssp

int main(int argc, char** argv) {
  cssp::InitLogging(argv[0]);
  if (argc != 3) {
    std::fprintf(stderr, "usage: transport_peer ADDRESS TRANSPORTS\n");
    return 2;
  }
  cssp::Peer peer;
  return cssp::ExitCodeFor("transport_peer", peer.Run(argv[1], argv[2]));
}
