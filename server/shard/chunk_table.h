// The chunks of one shard: values, history, parts of open clocks and who waits
// for what.
#ifndef CSSP_SERVER_SHARD_CHUNK_TABLE_H_
#define CSSP_SERVER_SHARD_CHUNK_TABLE_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "common/optim/chunk_update.h"
#include "common/ps/freshness.h"
#include "common/ps/slab_layout.h"
#include "server/shard/buffer_pool.h"

namespace cssp {

// Names a connection of the data plane; 0 is none.
using PeerId = uint64_t;

// One worker's gradient of one clock, waiting for the others'.
struct Part {
  int64_t clock = -1;
  uint32_t samples = 0;
  int64_t age = 0;  // clock - based_on: clocks that its values were behind
  BufferRef gradient;
};

// A worker's pull beyond the bound.  One per worker: a later pull replaces it.
struct ParkedPull {
  bool parked = false;
  int64_t clock = 0;
  uint32_t sequence = 0;
};

// An evaluator's pull of a cut that is still to come.
struct ParkedExact {
  PeerId peer = 0;
  int64_t clock = 0;
  int slot = 0;
  uint32_t sequence = 0;
};

// Values under way to one worker, and the newest it has been sent.
struct Delivery {
  int in_flight = 0;
  ps::Freshness sent{.row = -1, .own = -1};
};

struct ChunkState {
  static constexpr int64_t kNotReady = -1;

  ChunkState(int id, int64_t count, int history, int workers, int window,
             const FloatMemory& value_memory);

  const int id;         // in the model
  const int64_t count;  // floats
  std::vector<UpdateSegment> segments;
  int64_t version = kNotReady;     // clocks of which every update is in
  BufferRef values;
  BufferRef previous;              // of version - 1, where that is kept
  std::vector<BufferRef> history;  // updated in place
  std::vector<Part> parts;         // [clock mod window][rank]
  int64_t highest_clock = -1;      // of any part held or read answered
  bool summed = false;             // `mean` waits for the other shards' norms
  BufferRef mean;
  bool hollow = false;             // `mean` is of nobody's: values stay
  float rate_factor = 1;           // of `mean` (staleness_lr)
  uint64_t init_slots = 0;         // bit i: slot i initialised
  int init_last = -1;              // highest slot that will be
  std::vector<ParkedPull> parked;  // by rank
  std::vector<ParkedExact> exact;
  std::vector<Delivery> deliveries;  // by rank
  BufferPool value_pool;  // padding between blobs stays zero in these
  BufferPool part_pool;   // landed from the wire, so it may not in these
  const int workers;
  const int window;

  bool ready() const { return version != kNotReady; }
  Part& PartOf(int rank, int64_t clock) {
    return parts[clock % window * workers + rank];
  }
  bool Holds(int rank, int64_t clock) const {
    const Part& part = parts[clock % window * workers + rank];
    return part.clock == clock && part.gradient;
  }
};

// Thread-confined: the shard.
class ChunkTable {
 public:
  struct Shape {
    int workers = 1;
    int window = 1;  // clocks of which a chunk holds parts
    int num_history = 1;
    FloatMemory value_memory;  // of values and history; empty: the heap
  };
  // Holds the chunks with chunk_server[c] == self.
  ChunkTable(const ps::SlabLayout& layout, absl::Span<const int> chunk_server,
             int self, const Shape& shape);

  // Null: not ours.
  ChunkState* Find(uint32_t id) {
    return id < index_.size() && index_[id] >= 0 ? &chunks_[index_[id]]
                                                 : nullptr;
  }
  int LocalIndex(const ChunkState& chunk) const { return index_[chunk.id]; }
  std::vector<ChunkState>& chunks() { return chunks_; }
  const std::vector<ChunkState>& chunks() const { return chunks_; }
  // Bytes of values and history.
  int64_t bytes() const { return bytes_; }

 private:
  std::vector<int> index_;  // by id; -1: not ours
  std::vector<ChunkState> chunks_;
  int64_t bytes_ = 0;
};

}  // namespace cssp

#endif  // CSSP_SERVER_SHARD_CHUNK_TABLE_H_
