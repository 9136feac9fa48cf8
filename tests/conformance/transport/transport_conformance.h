// What every Transport must do; instantiated once per implementation.
#ifndef CSSP_TESTS_CONFORMANCE_TRANSPORT_TRANSPORT_CONFORMANCE_H_
#define CSSP_TESTS_CONFORMANCE_TRANSPORT_TRANSPORT_CONFORMANCE_H_

#include <functional>
#include <memory>
#include <string>

#include "common/transport/transport.h"

namespace cssp {

// A network on which transports of one kind reach each other.
class TransportWorld {
 public:
  virtual ~TransportWorld() = default;
  virtual absl::StatusOr<std::unique_ptr<Transport>> Make(
      const TransportOptions& options, TransportHandler& handler) = 0;
};

struct TransportKind {
  std::string name;
  std::function<std::unique_ptr<TransportWorld>()> make_world;
};

}  // namespace cssp

#endif  // CSSP_TESTS_CONFORMANCE_TRANSPORT_TRANSPORT_CONFORMANCE_H_
