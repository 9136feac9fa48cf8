// transport_bench: GB/s of pushes (payload one way, a small answer back) and
// pulls (a small request, payload back) between two processes over UCX, as a
// worker and a shard would run it: event-driven, 8 messages in flight.
//
//   transport_bench [SECONDS_PER_CASE]
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "common/base/logging.h"
#include "common/base/time_source.h"
#include "common/transport/transport.h"

namespace cssp {
namespace {

constexpr size_t kMaxBytes = size_t{4} << 20;
constexpr int kWindow = 8;

struct Request {
  uint64_t pull_bytes;  // 0: a push
};

TransportOptions Options(const std::string& transports) {
  TransportOptions options;
  options.devices = "lo";
  options.transports = transports;
  return options;
}

// Answers: what a shard's thread does, less the arithmetic.
// Thread-confined: the child's main.
class Server final : public TransportHandler {
 public:
  void Run(const std::string& transports, int address_fd) {
    transport_ = MakeUcxTransport(Options(transports), *this).value();
    const std::string address = transport_->Listen("127.0.0.1", 0).value();
    (void)!write(address_fd, address.data(), address.size());
    close(address_fd);
    while (!gone_) {
      if (transport_->Poll() == 0) transport_->Wait(absl::Seconds(1));
    }
  }

 private:
  void OnAccept(EndpointId) override {}
  uint8_t* OnArrival(EndpointId, absl::Span<const uint8_t>, size_t) override {
    // Round robin over more slots than can be in flight.
    return arena_.data() + kMaxBytes * (next_++ % (kWindow + 1));
  }
  void OnMessage(EndpointId peer, absl::Span<const uint8_t> header,
                 absl::Span<uint8_t>) override {
    Request request;
    memcpy(&request, header.data(), sizeof(request));
    CHECK(transport_
              ->Send(peer, header,
                     absl::MakeConstSpan(values_.data(), request.pull_bytes), 0)
              .ok());
  }
  void OnSent(EndpointId, uint64_t, absl::Status) override {}
  void OnDisconnect(EndpointId, absl::Status) override { gone_ = true; }

  std::unique_ptr<Transport> transport_;
  std::vector<uint8_t> arena_ = std::vector<uint8_t>(kMaxBytes * (kWindow + 1));
  std::vector<uint8_t> values_ = std::vector<uint8_t>(kMaxBytes, 1);
  size_t next_ = 0;
  bool gone_ = false;
};

// Thread-confined: the parent's main.
class Client final : public TransportHandler {
 public:
  Client(const std::string& transports, const std::string& address)
      : transport_(MakeUcxTransport(Options(transports), *this).value()),
        server_(transport_->Connect(address).value()) {}

  std::string Describe() const { return transport_->Describe(server_); }

  // Message rate over `seconds`; `worst` is the longest pause between answers.
  double Rate(bool push, size_t bytes, double seconds, absl::Duration* worst) {
    push_ = push;
    bytes_ = bytes;
    TimeSource& time = TimeSource::Real();
    answers_ = 0;
    running_ = true;
    for (int i = 0; i < kWindow; ++i) Ask();
    const absl::Time start = time.Now();
    absl::Time last = start;
    uint64_t seen = 0;
    *worst = absl::ZeroDuration();
    absl::Time now = start;
    while (now - start < absl::Seconds(seconds)) {
      if (transport_->Poll() == 0) transport_->Wait(absl::Seconds(1));
      now = time.Now();
      if (answers_ == seen) continue;
      *worst = std::max(*worst, now - last);
      last = now;
      seen = answers_;
    }
    const double rate = answers_ / absl::ToDoubleSeconds(now - start);
    running_ = false;
    while (in_flight_ > 0) {
      if (transport_->Poll() == 0) transport_->Wait(absl::Seconds(1));
    }
    return rate;
  }

 private:
  void Ask() {
    const Request request{push_ ? 0 : bytes_};
    uint8_t header[sizeof(request)];
    memcpy(header, &request, sizeof(request));
    ++in_flight_;
    CHECK(transport_
              ->Send(server_, header,
                     absl::MakeConstSpan(payload_.data(), push_ ? bytes_ : 0),
                     0)
              .ok());
  }
  void OnAccept(EndpointId) override {}
  uint8_t* OnArrival(EndpointId, absl::Span<const uint8_t>, size_t) override {
    return arena_.data() + kMaxBytes * (next_++ % (kWindow + 1));
  }
  void OnMessage(EndpointId, absl::Span<const uint8_t>,
                 absl::Span<uint8_t>) override {
    ++answers_;
    --in_flight_;
    if (running_) Ask();
  }
  void OnSent(EndpointId, uint64_t, absl::Status status) override {
    CHECK(status.ok()) << status;
  }
  void OnDisconnect(EndpointId, absl::Status why) override {
    LOG(FATAL) << "the server went away: " << why;
  }

  std::vector<uint8_t> payload_ = std::vector<uint8_t>(kMaxBytes, 2);
  std::vector<uint8_t> arena_ = std::vector<uint8_t>(kMaxBytes * (kWindow + 1));
  std::unique_ptr<Transport> transport_;
  const EndpointId server_;
  bool push_ = true;
  bool running_ = false;
  size_t bytes_ = 0;
  size_t next_ = 0;
  uint64_t answers_ = 0;
  int in_flight_ = 0;
};

void Bench(const char* name, const std::string& transports, double seconds) {
  int fds[2];
  CHECK_EQ(pipe(fds), 0);
  const pid_t child = fork();
  if (child == 0) {
    Server().Run(transports, fds[1]);
    _exit(0);
  }
  close(fds[1]);
  char address[100] = {};
  CHECK_GT(read(fds[0], address, sizeof(address) - 1), 0);
  close(fds[0]);
  {
    Client client(transports, address);
    absl::Duration worst;
    client.Rate(true, 64, 0.2, &worst);  // connected and warm
    std::printf("%s: %s\n", name, client.Describe().c_str());
    for (bool push : {true, false}) {
      for (size_t bytes :
           {size_t{4} << 10, size_t{64} << 10, size_t{1} << 20, kMaxBytes}) {
        const double rate = client.Rate(push, bytes, seconds, &worst);
        std::printf(
            "  %s %5zu KiB  %6.2f GB/s  %8.0f messages/s  longest "
            "pause %.1f ms\n",
            push ? "push" : "pull", bytes >> 10, rate * bytes / 1e9, rate,
            absl::ToDoubleMilliseconds(worst));
      }
    }
  }
  waitpid(child, nullptr, 0);
}

}  // namespace
}  // namespace cssp

int main(int argc, char** argv) {
  cssp::InitLogging(argv[0]);
  double seconds = 0.5;
  if (argc > 1 && !absl::SimpleAtod(argv[1], &seconds)) return 2;
  cssp::Bench("tcp", "tcp", seconds);
  cssp::Bench("shared memory, sysv", "tcp,sysv,self", seconds);
  cssp::Bench("shared memory, posix", "tcp,posix,self", seconds);
  cssp::Bench("default", "", seconds);
  return 0;
}
