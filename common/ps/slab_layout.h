// How a model's parameters lie in one slab and how the slab is cut into chunks:
// a pure function of the parameter list, so workers, servers, checkpoints and
// tools agree without talking.
#ifndef CSSP_COMMON_PS_SLAB_LAYOUT_H_
#define CSSP_COMMON_PS_SLAB_LAYOUT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace cssp::ps {

// One parameter blob: an owner's; sharers have no blob of their own.
struct BlobSpec {
  std::string key;  // "conv1/0"
  std::vector<int64_t> shape;
  int64_t count = 0;  // floats
  float lr_mult = 1;
  float decay_mult = 1;
  bool statistic = false;             // moving average, not gradient
  float moving_average_fraction = 0;  // statistic only
};

// A blob's part of a chunk.
struct Segment {
  int blob = 0;
  int64_t blob_offset =
      0;  // floats from the blob's start: a multiple of kBlock
  int64_t chunk_offset = 0;  // floats from the chunk's start
  int64_t count = 0;
};

// Contiguous in the slab; what the wire moves and a shard applies as a whole.
struct Chunk {
  int64_t offset = 0;  // floats from the slab's start
  int64_t count = 0;   // floats, padding between blobs included (always zero)
  std::vector<Segment> segments;
};

// Immutable.  Invariants: blobs start on 16-float boundaries in list order,
// which is the order in which backward completes them; big blobs are cut at
// multiples of kBlock from the blob's own start, small ones are packed whole
// into a common chunk; a chunk has at most `chunk_bytes`.
class SlabLayout {
 public:
  static constexpr int64_t kAlign = 16;
  // Squared norms are partial sums over blocks of this many floats, aligned to
  // the blob's start and added in key order: independent of chunk size.
  static constexpr int64_t kBlock = 4096;
  static constexpr int64_t kMaxFloats = int64_t{1} << 40;
  static constexpr int kMaxBlobs = 1 << 20;
  static constexpr int64_t kMaxChunks = int64_t{1} << 20;
  static constexpr int64_t kMinChunkBytes = kBlock * sizeof(float);
  static constexpr int64_t kMaxChunkBytes = int64_t{4} << 20;
  // Small enough that a few hundred kilobytes of model spread over the servers
  // and leave while backward still runs.
  static constexpr int64_t kDefaultChunkBytes = int64_t{256} << 10;

  // InvalidArgument: no blobs, duplicate keys, counts <= 0, unlike the shape or
  // beyond the limits above, chunk_bytes below one block or above 4 MiB.
  // chunk_bytes 0 means the default.
  static absl::StatusOr<SlabLayout> Create(std::vector<BlobSpec> blobs,
                                           int64_t chunk_bytes);

  absl::Span<const BlobSpec> blobs() const { return blobs_; }
  int64_t blob_offset(int blob) const { return offsets_[blob]; }
  int64_t size() const { return size_; }  // floats
  absl::Span<const Chunk> chunks() const { return chunks_; }
  // Chunks that hold a part of `blob`: [first, last].
  int first_chunk_of(int blob) const { return first_chunk_[blob]; }
  int last_chunk_of(int blob) const { return last_chunk_[blob]; }
  int64_t chunk_bytes() const { return chunk_bytes_; }
  // Equal for equal layouts: keys, counts, multipliers, chunking.
  uint64_t Fingerprint() const;

 private:
  std::vector<BlobSpec> blobs_;
  std::vector<int64_t> offsets_;
  std::vector<Chunk> chunks_;
  std::vector<int> first_chunk_, last_chunk_;
  int64_t size_ = 0;
  int64_t chunk_bytes_ = 0;
};

// Owner (server index) of every chunk: biggest first to the least loaded, ties
// to the lower index, so shares differ by at most one chunk.
std::vector<int> PlaceChunks(const SlabLayout& layout, int num_servers);

}  // namespace cssp::ps

#endif  // CSSP_COMMON_PS_SLAB_LAYOUT_H_
