// The ps-server that rank 0 of an mpirun brings along: a child on ephemeral
// ports with its state in a temporary folder.
#ifndef CSSP_WORKER_CAFFE_EMBEDDED_SERVER_H_
#define CSSP_WORKER_CAFFE_EMBEDDED_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/caffe/child_process.h"

namespace cssp {

struct EmbeddedServerOptions {
  std::string program;  // empty: ps-server, looked for from `folder`
  std::string folder;   // of this program
  std::string bind_host = "127.0.0.1";
};

// Thread-confined: main (the child goes when the thread that started it does).
// Taken down with this object; its folder is removed.
class EmbeddedServer {
 public:
  // Waits until it listens.
  static absl::StatusOr<std::unique_ptr<EmbeddedServer>> Start(
      const EmbeddedServerOptions& options);
  ~EmbeddedServer();

  // "host:port" of the coordinator.
  const std::string& control_address() const { return control_; }
  // OK while it runs.
  absl::Status Check();

 private:
  EmbeddedServer() = default;

  std::string folder_;
  std::string control_;
  std::unique_ptr<ChildProcess> child_;
};

// This host's first address that is not loopback; loopback where it has none.
std::string RoutableAddress();

}  // namespace cssp

#endif  // CSSP_WORKER_CAFFE_EMBEDDED_SERVER_H_
