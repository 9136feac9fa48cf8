// One or several shards with their outputs recorded, for tests.
#ifndef CSSP_TESTS_TESTING_SHARD_RIG_H_
#define CSSP_TESTS_TESTING_SHARD_RIG_H_

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/shard/shard.h"
#include "tests/testing/worker_header.h"

namespace cssp {

// Thread-confined.  Everything that a shard emits, in order.
class RecordingOutput : public ShardOutput {
 public:
  struct Values {
    PeerId peer;
    ps::MessageHeader header;
    BufferRef values;
  };
  struct Norms {
    int server;
    int64_t clock;
    std::vector<double> partials;
  };
  struct ContributorsSent {
    int server;
    int64_t clock;
    std::vector<int32_t> ranks;
  };
  struct ReplySent {
    PeerId peer;
    ps::MessageHeader header;
  };
  void SendValues(PeerId peer, const ps::MessageHeader& header,
                  BufferRef values) override {
    this->values.push_back({peer, header, std::move(values)});
  }
  void SendReply(PeerId peer, const ps::MessageHeader& header) override {
    replies.push_back({peer, header});
  }
  void SendNorms(int server, int64_t clock,
                 std::vector<double> partials) override {
    norms.push_back({server, clock, std::move(partials)});
  }
  void SendContributors(int server, int64_t clock,
                        std::vector<int32_t> ranks) override {
    contributors.push_back({server, clock, std::move(ranks)});
  }
  void CutReady(const RetainedCut& cut) override { cuts.push_back(cut); }

  ps::Reason last_reason() const { return replies.back().header.reason; }

  std::vector<Values> values;
  std::vector<ReplySent> replies;
  std::vector<Norms> norms;
  std::vector<ContributorsSent> contributors;
  std::vector<RetainedCut> cuts;
};

inline ps::BlobSpec TestBlob(const std::string& key, int64_t count) {
  ps::BlobSpec blob;
  blob.key = key;
  blob.shape = {count};
  blob.count = count;
  return blob;
}

// Plain SGD with rate `rate`: value -= rate * mean.
inline caffe::SolverParameter PlainSgd(float rate) {
  caffe::SolverParameter solver;
  solver.set_base_lr(rate);
  solver.set_lr_policy("fixed");
  solver.set_max_iter(1000000);
  return solver;
}

// A shard whose workers' peers are rank + 1, attached with incarnation 1.
// Thread-confined.
class ShardRig {
 public:
  ShardRig(std::vector<ps::BlobSpec> blobs, ShardOptions options,
           int64_t chunk_bytes = ps::SlabLayout::kMinChunkBytes) {
    auto layout = ps::SlabLayout::Create(std::move(blobs), chunk_bytes);
    EXPECT_TRUE(layout.ok()) << layout.status();
    if (options.chunk_server.empty()) {
      options.chunk_server.assign(layout->chunks().size(), 0);
    }
    auto made = Shard::Create(*layout, options, output);
    EXPECT_TRUE(made.ok()) << made.status();
    shard = *std::move(made);
    for (int rank = 0; rank < options.workers; ++rank) {
      EXPECT_EQ(shard->Attach(rank, kIncarnation, rank + 1), ps::Reason::kNone);
    }
  }

  ps::MessageHeader Header(ps::MessageType type, int rank, uint32_t chunk,
                           int64_t clock) {
    ps::MessageHeader header =
        WorkerHeader(type, rank, chunk, clock, ++sequence);
    header.based_on = clock;
    return header;
  }

  void InitAll(float value) {
    for (const ChunkState& chunk : shard->chunks()) {
      ps::MessageHeader header = Header(ps::MessageType::kInit, 0, chunk.id, 0);
      header.flags = ps::kFlagLastOfInit;
      shard->OnInit(1, header, std::vector<float>(chunk.count, value));
    }
  }

  ps::Reason Push(ps::MessageHeader header, float value) {
    BufferRef part;
    if (shard->ChunkFloats(header.chunk) > 0) {
      part = shard->NewPart(header.chunk);
      for (float& f : part.floats()) f = value;
    }
    shard->OnPush(header.rank + 1, header, std::move(part));
    return output.last_reason();
  }
  ps::Reason Push(int rank, uint32_t chunk, int64_t clock, float value) {
    return Push(Header(ps::MessageType::kPush, rank, chunk, clock), value);
  }
  void Pull(int rank, uint32_t chunk, int64_t clock) {
    shard->OnPull(rank + 1, Header(ps::MessageType::kPull, rank, chunk, clock));
  }
  control::Tick TickOf(int rank, int64_t clock, int pushes) {
    control::Tick tick;
    tick.set_rank(rank);
    tick.set_incarnation(kIncarnation);
    tick.set_clock(clock);
    tick.set_pushes(pushes);
    return tick;
  }
  float value(uint32_t chunk, int64_t index = 0) {
    for (const ChunkState& state : shard->chunks()) {
      if (state.id == static_cast<int>(chunk)) {
        return state.values.floats()[index];
      }
    }
    return NAN;
  }

  RecordingOutput output;
  std::unique_ptr<Shard> shard;
  uint32_t sequence = 0;
};

}  // namespace cssp

#endif  // CSSP_TESTS_TESTING_SHARD_RIG_H_
