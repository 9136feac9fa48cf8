#include "common/ps/slab_layout.h"

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "common/ps/layout_proto.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace cssp::ps {
namespace {

BlobSpec Blob(const std::string& key, int64_t count) {
  BlobSpec blob;
  blob.key = key;
  blob.shape = {count};
  blob.count = count;
  return blob;
}

std::vector<BlobSpec> QuickBlobs() {
  return {Blob("ip2/0", 640),     Blob("ip2/1", 10),      Blob("ip1/0", 65536),
          Blob("ip1/1", 64),      Blob("conv3/0", 51200), Blob("conv3/1", 64),
          Blob("conv2/0", 25600), Blob("conv2/1", 32),    Blob("conv1/0", 2400),
          Blob("conv1/1", 32)};
}

// The invariants that the header states, for any layout.
void CheckInvariants(const SlabLayout& layout) {
  int64_t offset = 0;
  std::vector<int64_t> covered(layout.blobs().size(), 0);
  int chunk_index = 0;
  for (const Chunk& chunk : layout.chunks()) {
    EXPECT_EQ(chunk.offset, offset);
    EXPECT_GT(chunk.count, 0);
    EXPECT_LE(chunk.count * 4, layout.chunk_bytes());
    offset += chunk.count;
    for (const Segment& segment : chunk.segments) {
      EXPECT_EQ(segment.blob_offset % SlabLayout::kBlock, 0);
      EXPECT_EQ(segment.blob_offset, covered[segment.blob]);
      EXPECT_EQ(layout.blob_offset(segment.blob) + segment.blob_offset,
                chunk.offset + segment.chunk_offset);
      EXPECT_LE(segment.chunk_offset + segment.count, chunk.count);
      EXPECT_LE(layout.first_chunk_of(segment.blob), chunk_index);
      EXPECT_GE(layout.last_chunk_of(segment.blob), chunk_index);
      covered[segment.blob] += segment.count;
    }
    ++chunk_index;
  }
  EXPECT_EQ(offset, layout.size());
  for (size_t b = 0; b < covered.size(); ++b) {
    EXPECT_EQ(covered[b], layout.blobs()[b].count);
    EXPECT_EQ(layout.blob_offset(b) % SlabLayout::kAlign, 0);
  }
}

TEST(SlabLayoutTest, PacksSmallBlobsAndCutsBigOnes) {
  auto layout = SlabLayout::Create(QuickBlobs(), 64 << 10);  // 16384 floats
  ASSERT_TRUE(layout.ok()) << layout.status();
  CheckInvariants(*layout);
  EXPECT_EQ(layout->first_chunk_of(0), 0);
  EXPECT_EQ(layout->first_chunk_of(1), 0);  // packed with ip2/0
  EXPECT_EQ(layout->first_chunk_of(2), 1);  // a big blob begins a chunk
  EXPECT_EQ(layout->last_chunk_of(2), 4);
}

TEST(SlabLayoutTest, InvariantsHoldForRandomLayouts) {
  std::mt19937 rng(7);
  for (int round = 0; round < 300; ++round) {
    std::vector<BlobSpec> blobs;
    const int n = 1 + rng() % 12;
    for (int b = 0; b < n; ++b) {
      const int64_t scale = int64_t{1} << (rng() % 18);
      blobs.push_back(Blob(absl::StrCat("b", b), 1 + rng() % scale));
    }
    const int64_t chunk_bytes = SlabLayout::kMinChunkBytes + rng() % (1 << 18);
    auto layout = SlabLayout::Create(blobs, chunk_bytes);
    ASSERT_TRUE(layout.ok()) << layout.status();
    CheckInvariants(*layout);
  }
}

TEST(SlabLayoutTest, RefusesWhatCannotBe) {
  const auto code = [](std::vector<BlobSpec> blobs, int64_t bytes) {
    return SlabLayout::Create(std::move(blobs), bytes).status().code();
  };
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(code({}, 0), kInvalid);
  EXPECT_EQ(code({Blob("a", 1), Blob("a", 1)}, 0), kInvalid);
  EXPECT_EQ(code({Blob("a", 0)}, 0), kInvalid);
  EXPECT_EQ(code({Blob("a", -5)}, 0), kInvalid);
  EXPECT_EQ(code({Blob("", 5)}, 0), kInvalid);
  EXPECT_EQ(code({Blob("a", SlabLayout::kMaxFloats + 1)}, 0), kInvalid);
  EXPECT_EQ(code({Blob("a", SlabLayout::kMaxFloats), Blob("b", 1)}, 4 << 20),
            kInvalid);
  EXPECT_EQ(code({Blob("a", SlabLayout::kMaxFloats / 2)}, 16384), kInvalid);
  EXPECT_EQ(code({Blob("a", 8)}, 16383), kInvalid);
  EXPECT_EQ(code({Blob("a", 8)}, (4 << 20) + 1), kInvalid);
  BlobSpec wrong = Blob("a", 8);
  wrong.shape = {3, 3};
  EXPECT_EQ(code({wrong}, 0), kInvalid);
  wrong.shape = {int64_t{1} << 62, int64_t{1} << 62};
  EXPECT_EQ(code({wrong}, 0), kInvalid);
  EXPECT_TRUE(SlabLayout::Create({Blob("a", 8)}, 0).ok());
}

TEST(SlabLayoutTest, FingerprintTellsLayoutsApart) {
  const uint64_t base =
      SlabLayout::Create(QuickBlobs(), 1 << 18)->Fingerprint();
  EXPECT_EQ(SlabLayout::Create(QuickBlobs(), 1 << 18)->Fingerprint(), base);
  EXPECT_NE(SlabLayout::Create(QuickBlobs(), 1 << 19)->Fingerprint(), base);
  std::vector<BlobSpec> other = QuickBlobs();
  other[3].lr_mult = 2;
  EXPECT_NE(SlabLayout::Create(other, 1 << 18)->Fingerprint(), base);
  other = QuickBlobs();
  other[3].statistic = true;
  EXPECT_NE(SlabLayout::Create(other, 1 << 18)->Fingerprint(), base);
}

TEST(SlabLayoutTest, ProtosKeepEverything) {
  BlobSpec blob = Blob("bn/0", 12);
  blob.shape = {3, 4};
  blob.lr_mult = 0;
  blob.decay_mult = 0.5;
  blob.statistic = true;
  blob.moving_average_fraction = 0.999;
  for (const BlobSpec& back :
       {FromProto(ToProto(blob)), FromProto(ToCheckpointProto(blob))}) {
    EXPECT_EQ(SlabLayout::Create({back}, 0)->Fingerprint(),
              SlabLayout::Create({blob}, 0)->Fingerprint());
  }
}

TEST(PlaceChunksTest, SharesDifferByAtMostOneChunk) {
  auto layout = SlabLayout::Create(QuickBlobs(), 64 << 10);
  for (int servers = 1; servers <= 4; ++servers) {
    const std::vector<int> owner = PlaceChunks(*layout, servers);
    std::vector<int64_t> held(servers, 0);
    int64_t biggest = 0;
    for (size_t c = 0; c < owner.size(); ++c) {
      ASSERT_GE(owner[c], 0);
      ASSERT_LT(owner[c], servers);
      held[owner[c]] += layout->chunks()[c].count;
      biggest = std::max(biggest, layout->chunks()[c].count);
    }
    const auto [low, high] = std::minmax_element(held.begin(), held.end());
    EXPECT_LE(*high - *low, biggest);
    EXPECT_EQ(owner, PlaceChunks(*layout, servers));
  }
}

}  // namespace
}  // namespace cssp::ps
