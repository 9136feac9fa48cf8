// One job on this server: its shard, and what is needed around it to speak
// with the job's peers.
#ifndef CSSP_SERVER_SERVICE_JOB_SHARD_H_
#define CSSP_SERVER_SERVICE_JOB_SHARD_H_

#include <cstdint>
#include <functional>
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
#include "server/service/shard_log.h"
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
  // Any thread: a job has something to apply.
  virtual void WakeShard() = 0;
};

// Thread-confined: made on the thread that opens it, then the shard thread's.
class JobShard : private ShardOutput {
 public:
  struct Folders {
    std::string store;  // what Manifest.Part.directory says
    std::string logs;   // of jobs with durability LOG
  };
  // Builds the shard and, when the request names a checkpoint, fills it from
  // there: reads disks, so not on the shard thread.  `store` may be null.
  static absl::StatusOr<std::unique_ptr<JobShard>> Create(
      const control::OpenShardRequest& request, const ParamStore* store,
      const Folders& folders, JobSender& sender);
  ~JobShard() override { CloseLog(/*forget=*/false); }

  // Of a job of tables: without chunks; it keeps membership and ticks.
  Shard& shard() { return *shard_; }
  JobTables& tables() { return *tables_; }

  // ---- Inputs.  They take effect at once, or under durability LOG once they
  // are on disk; then `done` is called on the shard thread.
  template <class Response>
  using Done = std::function<void(absl::StatusOr<Response>)>;
  // Ticks go to shard and tables, a dead or lost worker leaves both.
  void Tick(const control::Tick& tick, Done<control::TickAck> done);
  void ProposeOrder(const control::ProposeOrderRequest& request,
                    Done<control::OrderAnswer> done);
  void WorkerGone(const control::WorkerGoneRequest& request,
                  Done<control::WorkerGoneResponse> done);
  void Rejoin(const control::RejoinWorkerRequest& request,
              Done<control::RejoinWorkerResponse> done);
  // A reason other than kNone: refused before anything was kept.
  ps::Reason Push(PeerId peer, const ps::MessageHeader& header,
                  BufferRef part);
  ps::Reason Init(PeerId peer, const ps::MessageHeader& header,
                  BufferRef values);
  // kNorms or kContributors, of another server.  False: it cannot be.
  bool FromServer(ShardInput type, const ps::MessageHeader& header,
                  absl::Span<const uint8_t> body);
  void TableInc(PeerId peer, const ps::MessageHeader& header,
                absl::Span<const uint8_t> body);
  // Applies what has become durable; how many inputs.
  int Settle();
  void CutCommitted(int64_t clock);
  // The shard is open for others: what its log brought back is told.
  void Opened();
  // Nothing is applied any more; `forget`: the log goes with the job.
  void CloseLog(bool forget);

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
  // Gradients may travel as bfloat16.
  bool takes_bf16() const { return takes_bf16_; }
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
  template <class Response, class Apply>
  void Take(ShardInput type, const google::protobuf::Message& input,
            int64_t clock, Done<Response> done, Apply apply);
  absl::StatusOr<control::TickAck> ApplyTick(const control::Tick& tick);
  absl::StatusOr<control::OrderAnswer> ApplyOrder(
      const control::ProposeOrderRequest& request);
  void AnswerInc(PeerId peer, const ps::MessageHeader& inc, ps::Reason reason);
  void ApplyGone(const control::WorkerGoneRequest& gone);
  absl::Status StartLog(const control::OpenShardRequest& request,
                        const std::string& folder);
  // *clock: the input's, where it has one.
  absl::Status Replay(uint8_t type, absl::Span<const uint8_t> payload,
                      int64_t* clock);
  absl::Status ReplayMessage(ShardInput type,
                             absl::Span<const uint8_t> payload,
                             int64_t* clock);
  // What a server's message does to the shard, now or from the log; gives
  // whether the shard takes it.
  absl::StatusOr<std::function<bool()>> ServerInput(
      ShardInput type, const ps::MessageHeader& header,
      absl::Span<const uint8_t> body);
  std::string State() const;
  void LoadState(const ShardLogState& state);
  absl::Status MakeTables(const control::OpenShardRequest& request);
  absl::Status Restore(const control::OpenShardRequest& request,
                       const ParamStore* store,
                       const std::string& store_directory);
  // One array of a chunk of ours, from whatever chunks hold it.
  absl::Status ReadCut(CutReader& reader, int chunk, int array,
                       std::vector<float>* floats) const;

  void SendValues(PeerId peer, const ps::MessageHeader& header,
                  BufferRef values) override {
    if (replaying_) return;
    sender_.SendJobValues(*this, peer, header, std::move(values));
  }
  void SendReply(PeerId peer, const ps::MessageHeader& header) override {
    if (replaying_) return;
    sender_.SendJobReply(peer, header);
  }
  void SendNorms(int server, int64_t clock,
                 std::vector<double> partials) override {
    if (replaying_) return;
    sender_.SendJobNorms(*this, server, clock, std::move(partials));
  }
  void SendContributors(int server, int64_t clock,
                        std::vector<int32_t> ranks) override {
    if (replaying_) return;
    sender_.SendJobContributors(*this, server, clock, std::move(ranks));
  }
  void LogContributors(int64_t clock, std::vector<int32_t> ranks) override;
  void CutReady(const RetainedCut& cut) override {
    if (replaying_) return replayed_cuts_.push_back(cut);
    roll_wanted_ = log_ != nullptr;
    sender_.JobCutReady(*this, cut);
  }

  JobSender& sender_;
  std::string id_;
  std::string token_;
  int64_t credit_ = 0;
  bool takes_bf16_ = false;
  std::unique_ptr<Shard> shard_;
  std::unique_ptr<JobTables> tables_;
  std::vector<PeerServer> peer_servers_;
  std::vector<CachedCrc> crcs_;  // by chunk
  ShardCounters reported_;
  std::string log_folder_;  // of this job, over its epochs
  std::unique_ptr<ShardLog> log_;  // null: durability CHECKPOINT
  bool log_closed_ = false;
  bool replaying_ = false;
  bool roll_wanted_ = false;
  bool state_loaded_ = false;
  std::vector<RetainedCut> replayed_cuts_;
};

}  // namespace cssp

#endif  // CSSP_SERVER_SERVICE_JOB_SHARD_H_
