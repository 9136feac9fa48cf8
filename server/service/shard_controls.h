// ShardControl (server/coordinator) for the shard in this process and for one
// on another server.
#ifndef CSSP_SERVER_SERVICE_SHARD_CONTROLS_H_
#define CSSP_SERVER_SERVICE_SHARD_CONTROLS_H_

#include <memory>

#include "absl/status/statusor.h"
#include "proto/control.pb.h"
#include "server/coordinator/shard_control.h"
#include "server/service/shard_host.h"
#include "server/storage/param_store.h"

namespace cssp {

// Borrows both.
std::shared_ptr<ShardControl> MakeLocalShardControl(ShardHost& host,
                                                    ParamStore& store);

// InvalidArgument: an address that is none.  Does not connect.
absl::StatusOr<std::shared_ptr<ShardControl>> MakeRemoteShardControl(
    const control::ServerInfo& server);

}  // namespace cssp

#endif  // CSSP_SERVER_SERVICE_SHARD_CONTROLS_H_
