// How a member of a job reaches the job's servers.
#ifndef CSSP_WORKER_SYNC_JOB_LINKS_H_
#define CSSP_WORKER_SYNC_JOB_LINKS_H_

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "common/rpc/shard_client.h"
#include "proto/control.pb.h"
#include "worker/sync/job_session.h"
#include "worker/sync/ps_client.h"

namespace cssp {

// Who the member is and where the servers of `map` listen; the rest is the
// caller's.
PsClientOptions DataPlaneOptions(const JobSession& session,
                                 const control::ShardMap& map);

// Bytes of pushes that a server may owe an acknowledgement for.  Two chunks, one
// applied while the other is on its way: more would only leave the caches of
// both sides before it is read.  A log acknowledges what is on its disk,
// milliseconds later.
int64_t PushWindowBytes(int64_t chunk_bytes, control::Durability durability);

// Opens one stream of ticks to each server of `map`, in its order.  `on_broken`
// runs on a stream's thread, with the server's address in the status.
// REQUIRES: the streams go before the clients.
absl::Status OpenTickStreams(
    const control::ShardMap& map,
    const std::function<void(const absl::Status&)>& on_broken,
    std::vector<std::unique_ptr<ShardClient>>* shards,
    std::vector<std::unique_ptr<TickStream>>* ticks);

}  // namespace cssp

#endif  // CSSP_WORKER_SYNC_JOB_LINKS_H_
