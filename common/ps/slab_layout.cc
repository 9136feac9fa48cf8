#include "common/ps/slab_layout.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <queue>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp::ps {
namespace {

int64_t RoundUp(int64_t n, int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

absl::Status BlobError(const BlobSpec& blob, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("parameter '", blob.key, "': ", what));
}

// Multiplies with the limit checked first, so nothing overflows.
bool ShapeHasCount(const BlobSpec& blob) {
  int64_t product = 1;
  for (int64_t extent : blob.shape) {
    if (extent <= 0 || product > SlabLayout::kMaxFloats / extent) return false;
    product *= extent;
  }
  return product == blob.count;
}

absl::Status CheckBlob(const BlobSpec& blob) {
  if (blob.key.empty()) return BlobError(blob, "the key is empty");
  if (blob.count <= 0 || blob.count > SlabLayout::kMaxFloats) {
    return BlobError(blob,
                     absl::StrCat("count ", blob.count, " is outside 1..2^40"));
  }
  if (!blob.shape.empty() && !ShapeHasCount(blob)) {
    return BlobError(
        blob, absl::StrCat("the shape does not have count ", blob.count));
  }
  if (!std::isfinite(blob.lr_mult) || !std::isfinite(blob.decay_mult) ||
      !std::isfinite(blob.moving_average_fraction)) {
    return BlobError(blob, "a multiplier is not finite");
  }
  return absl::OkStatus();
}

absl::Status CheckBlobs(const std::vector<BlobSpec>& blobs) {
  if (blobs.empty()) {
    return absl::InvalidArgumentError("the model has no parameters");
  }
  if (blobs.size() > static_cast<size_t>(SlabLayout::kMaxBlobs)) {
    return absl::InvalidArgumentError(absl::StrCat(
        blobs.size(), " parameters; at most ", SlabLayout::kMaxBlobs));
  }
  std::unordered_set<std::string> keys;
  int64_t total = 0;
  for (const BlobSpec& blob : blobs) {
    RETURN_IF_ERROR(CheckBlob(blob));
    if (!keys.insert(blob.key).second) {
      return BlobError(blob, "the key occurs twice");
    }
    total += RoundUp(blob.count, SlabLayout::kAlign);
    if (total > SlabLayout::kMaxFloats) {
      return BlobError(blob, "the model exceeds 2^40 floats here");
    }
  }
  return absl::OkStatus();
}

// Cuts the slab.  Thread-confined: Create.
class Cutter {
 public:
  explicit Cutter(int64_t chunk_bytes)
      : room_(chunk_bytes / static_cast<int64_t>(sizeof(float)) /
              SlabLayout::kAlign * SlabLayout::kAlign),
        piece_(room_ / SlabLayout::kBlock * SlabLayout::kBlock) {}

  void Add(int blob, int64_t count) {
    const int64_t padded = RoundUp(count, SlabLayout::kAlign);
    if (padded > room_ - open_.count) Close();
    int64_t done = 0;
    while (padded - done > room_) {
      Append({blob, done, 0, piece_}, piece_);
      Close();
      done += piece_;
    }
    Append({blob, done, 0, count - done}, padded - done);
  }

  std::vector<Chunk> Finish() {
    Close();
    return std::move(chunks_);
  }
  int64_t num_chunks() const { return chunks_.size(); }

 private:
  void Append(Segment segment, int64_t padded) {
    segment.chunk_offset = open_.count;
    open_.segments.push_back(segment);
    open_.count += padded;
  }
  void Close() {
    if (open_.count == 0) return;
    const int64_t next = open_.offset + open_.count;
    chunks_.push_back(std::move(open_));
    open_ = Chunk();
    open_.offset = next;
  }

  const int64_t room_;   // floats a chunk may hold
  const int64_t piece_;  // floats of a piece of a cut blob: whole blocks
  Chunk open_;
  std::vector<Chunk> chunks_;
};

// FNV-1a: cheap, and only ever compared with itself.
class Hash {
 public:
  void Bytes(const void* data, size_t size) {
    const auto* bytes = static_cast<const uint8_t*>(data);
    for (size_t i = 0; i < size; ++i) {
      value_ = (value_ ^ bytes[i]) * 1099511628211ull;
    }
  }
  void Number(uint64_t n) {
    uint8_t bytes[8];
    for (int i = 0; i < 8; ++i) bytes[i] = n >> (8 * i);
    Bytes(bytes, sizeof(bytes));
  }
  void Float(float f) {
    uint32_t bits;
    std::memcpy(&bits, &f, sizeof(bits));
    Number(bits);
  }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 14695981039346656037ull;
};

}  // namespace

absl::StatusOr<SlabLayout> SlabLayout::Create(std::vector<BlobSpec> blobs,
                                              int64_t chunk_bytes) {
  if (chunk_bytes == 0) chunk_bytes = kDefaultChunkBytes;
  if (chunk_bytes < kMinChunkBytes || chunk_bytes > kMaxChunkBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("chunk_bytes ", chunk_bytes, " is outside ",
                     kMinChunkBytes, "..", kMaxChunkBytes));
  }
  RETURN_IF_ERROR(CheckBlobs(blobs));
  SlabLayout layout;
  layout.chunk_bytes_ = chunk_bytes;
  Cutter cutter(chunk_bytes);
  for (int b = 0; b < static_cast<int>(blobs.size()); ++b) {
    if (blobs[b].count / (chunk_bytes / sizeof(float)) + cutter.num_chunks() >
        kMaxChunks) {
      return absl::InvalidArgumentError(
          absl::StrCat("more than ", kMaxChunks, " chunks; raise chunk_bytes"));
    }
    layout.offsets_.push_back(layout.size_);
    layout.size_ += RoundUp(blobs[b].count, kAlign);
    cutter.Add(b, blobs[b].count);
  }
  layout.chunks_ = cutter.Finish();
  layout.blobs_ = std::move(blobs);
  layout.first_chunk_.assign(layout.blobs_.size(), -1);
  layout.last_chunk_.assign(layout.blobs_.size(), -1);
  for (int c = 0; c < static_cast<int>(layout.chunks_.size()); ++c) {
    for (const Segment& segment : layout.chunks_[c].segments) {
      if (layout.first_chunk_[segment.blob] < 0) {
        layout.first_chunk_[segment.blob] = c;
      }
      layout.last_chunk_[segment.blob] = c;
    }
  }
  return layout;
}

uint64_t SlabLayout::Fingerprint() const {
  Hash hash;
  hash.Number(chunk_bytes_);
  hash.Number(blobs_.size());
  for (const BlobSpec& blob : blobs_) {
    hash.Number(blob.key.size());
    hash.Bytes(blob.key.data(), blob.key.size());
    hash.Number(blob.shape.size());
    for (int64_t extent : blob.shape) hash.Number(extent);
    hash.Number(blob.count);
    hash.Float(blob.lr_mult);
    hash.Float(blob.decay_mult);
    hash.Number(blob.statistic);
    hash.Float(blob.moving_average_fraction);
  }
  return hash.value();
}

std::vector<int> PlaceChunks(const SlabLayout& layout, int num_servers) {
  const absl::Span<const Chunk> chunks = layout.chunks();
  std::vector<int> order(chunks.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return chunks[a].count > chunks[b].count;
  });
  using Load = std::pair<int64_t, int>;  // floats held, server
  std::priority_queue<Load, std::vector<Load>, std::greater<Load>> loads;
  for (int s = 0; s < num_servers; ++s) loads.push({0, s});
  std::vector<int> owner(chunks.size(), 0);
  for (int c : order) {
    const auto [held, server] = loads.top();
    loads.pop();
    owner[c] = server;
    loads.push({held + chunks[c].count, server});
  }
  return owner;
}

}  // namespace cssp::ps
