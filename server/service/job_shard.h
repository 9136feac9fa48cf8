// One job on this server: its shard, and what is needed around it to speak
// with the job's peers.
#ifndef CSSP_SERVER_SERVICE_JOB_SHARD_H_
#define CSSP_SERVER_SERVICE_JOB_SHARD_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/transport/transport.h"
#include "proto/control.pb.h"
#include "server/checkpoint/cut_reader.h"
#include "server/service/job_tables.h"
#include "server/shard/shard.h"
#include "server/storage/param_store.h"

namespace cssp {

class JobShard;
struct ShardHostMetrics;  // server/service/metrics.h

// What a JobShard needs of the data plane.
class JobSender {
 public:
  virtual ~JobSender() = default;
  virtual void SendJobValues(JobShard& job, PeerId peer,
                             const ps::MessageHeader& header,
                             BufferRef values) = 0;
  virtual void SendJobReply(PeerId peer, const ps::MessageHeader& header) = 0;
  virtual void SendJobNorms(JobShard& job, int server, int64_t clock,
                            std::vector<double> partials) = 0;
  virtual void SendJobContributors(JobShard& job, int server, int64_t clock,
                                   std::vector<int32_t> ranks) = 0;
  virtual void SendJobBody(JobShard& job, PeerId peer,
                           const ps::MessageHeader& header,
                           std::string body) = 0;
  // Thread-safe.  Memory that is sent with fewer copies.
  virtual std::shared_ptr<uint8_t> AllocateJobMemory(size_t bytes) = 0;
  virtual void JobCutReady(JobShard& job, const RetainedCut& cut) = 0;
};

// Thread-confined: made on the thread that opens it, then the shard thread's.
class JobShard : private ShardOutput {
 public:
  // Builds the shard and, when the request names a checkpoint, fills it from
  // there: reads disks, so not on the shard thread.  `store` may be null.
  static absl::StatusOr<std::unique_ptr<JobShard>> Create(
      const control::OpenShardRequest& request, const ParamStore* store,
      const std::string& store_directory, JobSender& sender);

  // Of a job of tables: without chunks; it keeps membership and ticks.
  Shard& shard() { return *shard_; }
  JobTables& tables() { return *tables_; }
  // Ticks go to both, a dead or lost worker leaves both.
  absl::StatusOr<control::TickAck> Tick(const control::Tick& tick);
  void WorkerGone(int rank, uint32_t incarnation);
  void Detach(PeerId peer);
  int64_t bytes() const { return shard_->bytes() + tables_->bytes(); }
  int64_t parked() const {
    return shard_->counters().parked_now + tables_->parked();
  }
  const std::string& id() const { return id_; }
  uint32_t number() const { return shard_->options().job; }
  int server_index() const { return shard_->options().self; }
  // What our messages for this job begin with.
  ps::MessageHeader Header(ps::MessageType type) const;
  bool TokenMatches(absl::string_view token) const;
  const std::string& token() const { return token_; }
  // Bytes that one worker may have under way to this server.
  int64_t credit() const { return credit_; }
  // CRC of the values, computed once for all readers.
  uint32_t ValuesCrc(const ps::MessageHeader& header, const BufferRef& values);
  // What has been counted since the last call is added to `metrics`.
  void ReportMetrics(ShardHostMetrics& metrics);

  // Our connections to the job's other servers.  By server index.
  struct PeerServer {
    std::string address;
    EndpointId endpoint = kNoEndpoint;
    bool ready = false;
    absl::Time retry_at = absl::InfinitePast();
    absl::Duration backoff = absl::ZeroDuration();
  };
  std::vector<PeerServer>& peer_servers() { return peer_servers_; }

 private:
  struct CachedCrc {
    uint64_t taking = 0;  // of the values' buffer
    uint32_t crc = 0;
  };

  explicit JobShard(JobSender& sender) : sender_(sender) {}
  absl::Status Restore(const control::OpenShardRequest& request,
                       const ParamStore* store,
                       const std::string& store_directory);
  // One array of a chunk of ours, from whatever chunks hold it.
  absl::Status ReadCut(CutReader& reader, int chunk, int array,
                       std::vector<float>* floats) const;

  void SendValues(PeerId peer, const ps::MessageHeader& header,
                  BufferRef values) override {
    sender_.SendJobValues(*this, peer, header, std::move(values));
  }
  void SendReply(PeerId peer, const ps::MessageHeader& header) override {
    sender_.SendJobReply(peer, header);
  }
  void SendNorms(int server, int64_t clock,
                 std::vector<double> partials) override {
    sender_.SendJobNorms(*this, server, clock, std::move(partials));
  }
  void SendContributors(int server, int64_t clock,
                        std::vector<int32_t> ranks) override {
    sender_.SendJobContributors(*this, server, clock, std::move(ranks));
  }
  void CutReady(const RetainedCut& cut) override {
    sender_.JobCutReady(*this, cut);
  }

  JobSender& sender_;
  std::string id_;
  std::string token_;
  int64_t credit_ = 0;
  std::unique_ptr<Shard> shard_;
  std::unique_ptr<JobTables> tables_;
  std::vector<PeerServer> peer_servers_;
  std::vector<CachedCrc> crcs_;  // by chunk
  ShardCounters reported_;
};

}  // namespace cssp

#endif  // CSSP_SERVER_SERVICE_JOB_SHARD_H_
