// Whose a listening socket of this host is.  Only ucx_*.cc may include this.
#ifndef CSSP_COMMON_TRANSPORT_LISTENER_OWNER_H_
#define CSSP_COMMON_TRANSPORT_LISTENER_OWNER_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace cssp {

// The Unix user whose process listens at `address` (host:port) in this network
// namespace; none: nobody does, it is another host's, or there is no /proc.
std::optional<uint32_t> ListenerOwner(const std::string& address);

// The same, from the text of /proc/net/tcp or tcp6 and an address as those
// write it: the host's bytes in hexadecimal words of the machine's order.  A
// listener on every address counts, too.
std::optional<uint32_t> OwnerInTable(absl::string_view table,
                                     absl::string_view host, int port);

}  // namespace cssp

#endif  // CSSP_COMMON_TRANSPORT_LISTENER_OWNER_H_
