#include "worker/sync/job_links.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {

int64_t PushWindowBytes(int64_t chunk_bytes, control::Durability durability) {
  constexpr int64_t kLeast = int64_t{1} << 20, kLogged = int64_t{8} << 20;
  return std::max(durability == control::LOG ? kLogged : kLeast,
                  2 * chunk_bytes);
}

PsClientOptions DataPlaneOptions(const JobSession& session,
                                 const control::ShardMap& map) {
  const control::JoinJobResponse& joined = session.joined();
  PsClientOptions options;
  options.job = joined.job_number();
  options.job_epoch = session.job_epoch();
  options.map_epoch = map.map_epoch();
  options.rank = joined.rank();
  options.incarnation = joined.incarnation();
  options.token = joined.token();
  options.push_window_bytes =
      PushWindowBytes(map.chunk_bytes(), joined.spec().durability());
  for (const control::ServerEntry& server : map.servers())
    options.servers.push_back(server.data_address());
  return options;
}

absl::Status OpenTickStreams(
    const control::ShardMap& map,
    const std::function<void(const absl::Status&)>& on_broken,
    std::vector<std::unique_ptr<ShardClient>>* shards,
    std::vector<std::unique_ptr<TickStream>>* ticks) {
  for (const control::ServerEntry& server : map.servers()) {
    ASSIGN_OR_RETURN(std::unique_ptr<ShardClient> shard,
                     ShardClient::Create(server.control_address()));
    const std::string address = server.control_address();
    ticks->push_back(shard->Ticks([on_broken, address](absl::Status status) {
      on_broken(Annotate(status, absl::StrCat("ticks to server ", address)));
    }));
    shards->push_back(std::move(shard));
  }
  return absl::OkStatus();
}

}  // namespace cssp
