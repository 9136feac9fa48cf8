#include "common/transport/listener_owner.h"

#include <netinet/in.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/transport/ucx_worker.h"

namespace cssp {
namespace {

// "0100007F" for 127.0.0.1 on a little-endian machine.
std::string HexWords(const void* bytes, size_t words) {
  std::string text;
  for (size_t i = 0; i < words; ++i) {
    uint32_t word;
    std::memcpy(&word, static_cast<const uint8_t*>(bytes) + 4 * i, 4);
    absl::StrAppendFormat(&text, "%08X", word);
  }
  return text;
}

}  // namespace

std::optional<uint32_t> OwnerInTable(absl::string_view table,
                                     absl::string_view host, int port) {
  const std::string any(host.size(), '0');
  const std::string exact = absl::StrFormat("%s:%04X", host, port);
  const std::string wild = absl::StrFormat("%s:%04X", any, port);
  for (absl::string_view line : absl::StrSplit(table, '\n')) {
    // sl local remote state queues timer retransmits uid ...; 0A: listening.
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, ' ', absl::SkipEmpty());
    uint32_t owner = 0;
    if (words.size() > 7 && words[3] == "0A" &&
        (words[1] == exact || words[1] == wild) &&
        absl::SimpleAtoi(words[7], &owner))
      return owner;
  }
  return std::nullopt;
}

std::optional<uint32_t> ListenerOwner(const std::string& address) {
  const absl::StatusOr<SocketAddress> to = ParseAddress(address);
  if (!to.ok()) return std::nullopt;
  const bool six = to->storage.ss_family == AF_INET6;
  const std::string host =
      six ? HexWords(&reinterpret_cast<const sockaddr_in6&>(to->storage)
                          .sin6_addr, 4)
          : HexWords(&reinterpret_cast<const sockaddr_in&>(to->storage)
                          .sin_addr, 1);
  std::ifstream file(six ? "/proc/net/tcp6" : "/proc/net/tcp");
  const std::string table{std::istreambuf_iterator<char>(file), {}};
  return OwnerInTable(table, host, PortOf(to->storage));
}

}  // namespace cssp
