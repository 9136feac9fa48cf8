// A JobShard of durability LOG with its store, that can be killed and opened
// again from its last cut and its log; for tests.
#ifndef CSSP_TESTS_UNIT_SERVER_SERVICE_LOGGED_SHARD_H_
#define CSSP_TESTS_UNIT_SERVER_SERVICE_LOGGED_SHARD_H_

#include <stdlib.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/time_source.h"
#include "common/ps/layout_proto.h"
#include "gtest/gtest.h"
#include "server/checkpoint/checkpoint_io.h"
#include "server/service/checkpoint_writer.h"
#include "server/service/job_shard.h"
#include "tests/testing/worker_header.h"

namespace cssp {

// Thread-confined, as the shard is; WakeShard is called by the log.
class LoggedShard : private JobSender {
 public:
  struct Reply {
    PeerId peer;
    ps::MessageHeader header;
  };
  struct Told {
    int server;
    int64_t clock;
    std::vector<int32_t> ranks;
    bool operator==(const Told&) const = default;
  };

  explicit LoggedShard(control::OpenShardRequest request)
      : request_(std::move(request)) {
    std::string name = testing::TempDir() + "/logged_shard_XXXXXX";
    folder_ = mkdtemp(name.data());
    Open();
  }
  ~LoggedShard() override {
    job_.reset();
    std::filesystem::remove_all(folder_);
  }

  JobShard& job() { return *job_; }
  Shard& shard() { return job_->shard(); }
  const std::string& log_folder() const { return folder_; }

  // Until every input is durable and applied.
  void Settle() {
    bool done = false;
    control::WorkerGoneRequest nobody;
    nobody.set_rank(-5);
    job_->WorkerGone(nobody, [&done](auto) { done = true; });
    const absl::Time deadline = TimeSource::Real().Now() + absl::Seconds(10);
    while (!done && TimeSource::Real().Now() < deadline) job_->Settle();
    ASSERT_TRUE(done) << "the log does not become durable";
  }

  // Whatever is not durable is lost.  The newest cut that was committed and the
  // log after it are what is opened.
  absl::Status KillAndReopen() {
    job_.reset();
    control::OpenShardRequest& request = request_;
    request.set_replay_log(true);
    if (cut_ >= 0) {
      request.set_start_clock(cut_);
      request.set_restore_checkpoint(CheckpointId(request.job_id(), cut_));
      request.set_manifest(manifest_.SerializeAsString());
    }
    return TryOpen();
  }

  // What another job finds that begins from the newest cut that was committed.
  absl::StatusOr<std::unique_ptr<JobShard>> OpenFromCut(
      control::OpenShardRequest request) {
    request.set_start_clock(cut_);
    request.set_restore_checkpoint(CheckpointId(request_.job_id(), cut_));
    request.set_manifest(manifest_.SerializeAsString());
    return JobShard::Create(request, store_.get(),
                            {.store = "own", .logs = folder_ + "/other"},
                            *this);
  }
  ParamStore& store() { return *store_; }

  // The coordinator has written the manifest of the newest cut, or of `clock`'s.
  void CommitCut(int64_t clock = -1) {
    if (clock < 0) clock = std::exchange(ready_, -1);
    if (clock < 0) return;
    cut_ = clock;
    manifest_.Clear();
    manifest_.set_job_id(request_.job_id());
    manifest_.set_clock(cut_);
    *manifest_.mutable_spec() = request_.spec().SerializeAsString();
    manifest_.set_chunk_bytes(request_.shard_map().chunk_bytes());
    manifest_.set_num_history(shard().num_history());
    manifest_.set_worker_histories(shard().worker_histories());
    for (const control::BlobSpec& blob : request_.blobs())
      *manifest_.add_blobs() = ps::ToCheckpointProto(ps::FromProto(blob));
    Manifest::Part* part = manifest_.add_parts();
    part->set_server_id("ps-0");
    part->set_directory("own");
    for (const ChunkState& chunk : shard().chunks())
      part->add_chunks(chunk.id);
    job_->CutCommitted(cut_);
  }

  ps::MessageHeader Header(ps::MessageType type, int rank, uint32_t chunk,
                           int64_t clock) {
    ps::MessageHeader header =
        WorkerHeader(type, rank, chunk, clock, ++sequence_);
    header.based_on = clock;
    return header;
  }
  void InitAll(float value) {
    for (const ChunkState& chunk : shard().chunks()) {
      ps::MessageHeader header = Header(ps::MessageType::kInit, 0, chunk.id, 0);
      header.flags = ps::kFlagLastOfInit;
      BufferRef values = shard().NewPart(chunk.id);
      for (float& f : values.floats()) f = value;
      ASSERT_EQ(job_->Init(1, header, std::move(values)), ps::Reason::kNone);
    }
    Settle();
  }
  ps::Reason Push(ps::MessageHeader header, float value) {
    BufferRef part = shard().NewPart(header.chunk);
    float next = value;
    for (float& f : part.floats()) f = (next += 0.37f);
    return job_->Push(header.rank + 1, header, std::move(part));
  }
  void Tick(int rank, int64_t clock, int pushes) {
    control::Tick tick;
    tick.set_rank(rank);
    tick.set_incarnation(1);
    tick.set_clock(clock);
    tick.set_pushes(pushes);
    job_->Tick(tick, [](auto) {});
  }

  // Everything that later inputs build on.
  std::vector<std::vector<float>> Arrays() {
    std::vector<std::vector<float>> arrays;
    const auto add = [&arrays](const BufferRef& array) {
      arrays.emplace_back(array.floats().begin(), array.floats().end());
    };
    for (const ChunkState& chunk : shard().chunks()) {
      add(chunk.values);
      for (const BufferRef& history : chunk.history) add(history);
    }
    return arrays;
  }

  std::vector<Reply> replies;
  std::vector<Told> told;  // contributors, to other servers
  std::vector<int64_t> cuts;
  struct Body {
    PeerId peer;
    ps::MessageHeader header;
    std::string bytes;
  };
  std::vector<Body> bodies;

 private:
  void Open() {
    const absl::Status opened = TryOpen();
    ASSERT_TRUE(opened.ok()) << opened;
  }
  absl::Status TryOpen() {
    auto job = JobShard::Create(request_, store_.get(),
                                {.store = "own", .logs = folder_}, *this);
    if (!job.ok()) return job.status();
    job_ = *std::move(job);
    job_->Opened();
    return absl::OkStatus();
  }

  void SendJobValues(JobShard&, PeerId, const ps::MessageHeader&,
                     BufferRef) override {}
  void SendJobReply(PeerId peer, const ps::MessageHeader& header) override {
    replies.push_back({peer, header});
  }
  void SendJobNorms(JobShard&, int, int64_t, std::vector<double>) override {}
  void SendJobContributors(JobShard&, int server, int64_t clock,
                           std::vector<int32_t> ranks) override {
    told.push_back({server, clock, std::move(ranks)});
  }
  void SendJobBody(JobShard&, PeerId peer, const ps::MessageHeader& header,
                   std::string body) override {
    bodies.push_back({peer, header, std::move(body)});
  }
  std::shared_ptr<uint8_t> AllocateJobMemory(size_t bytes) override {
    return {static_cast<uint8_t*>(aligned_alloc(64, (bytes + 63) / 64 * 64)),
            free};
  }
  void JobCutReady(JobShard& job, const RetainedCut& cut) override {
    cuts.push_back(cut.clock);
    ready_ = cut.clock;
    if (cut.tables != nullptr) return WriteTables(cut);
    for (size_t i = 0; i < cut.chunks.size(); ++i) {
      std::vector<absl::Span<const float>> arrays;
      for (const BufferRef& array : cut.chunks[i])
        arrays.push_back(array.floats());
      const int chunk = job.shard().chunks()[i].id;
      EXPECT_TRUE(store_
                      ->Write({EncodeCutChunk(request_.job_id(), cut.clock,
                                              chunk, arrays)},
                              /*sync=*/true)
                      .ok());
    }
  }
  void WriteTables(const RetainedCut& cut) {
    CheckpointWriter writer(
        {.store = store_.get(),
         .report =
             [](const control::ShardCheckpoint& part) {
               EXPECT_EQ(part.error(), "");
             },
         .release = [](CutTask) {}});
    writer.Start();
    CutTask task;
    task.job_id = request_.job_id();
    task.clock = cut.clock;
    task.tables = cut.tables;
    EXPECT_TRUE(writer.TryAdd(task));
    writer.Stop();
  }
  void WakeShard() override {}

  control::OpenShardRequest request_;
  std::string folder_;
  std::unique_ptr<ParamStore> store_ = MakeMemoryStore();
  Manifest manifest_;
  int64_t ready_ = -1;
  int64_t cut_ = -1;
  uint32_t sequence_ = 0;
  std::unique_ptr<JobShard> job_;
};

}  // namespace cssp

#endif  // CSSP_TESTS_UNIT_SERVER_SERVICE_LOGGED_SHARD_H_
