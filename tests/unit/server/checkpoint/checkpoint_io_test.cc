#include "server/checkpoint/checkpoint_io.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <numeric>

#include "server/checkpoint/cut_reader.h"

namespace cssp {
namespace {

using testing::HasSubstr;

constexpr char kJob[] = "quick-1";
constexpr int64_t kClock = 40;

// Two blobs: one of three blocks and a rest, one small.
Manifest MakeManifest(int chunk_bytes) {
  Manifest manifest;
  manifest.set_format(1);
  manifest.set_job_id(kJob);
  manifest.set_clock(kClock);
  manifest.set_chunk_bytes(chunk_bytes);
  manifest.set_num_history(1);
  for (const auto& [key, count] :
       {std::pair<const char*, int64_t>{"ip/0", 3 * 4096 + 100},
        {"ip/1", 10}}) {
    CheckpointBlob* blob = manifest.add_blobs();
    blob->set_key(key);
    blob->add_shape(count);
    blob->set_count(count);
  }
  return manifest;
}

// Element i of the slab's array a has the value i + 1000000 * a.
void WriteCut(ParamStore& store, Manifest& manifest, int server, int servers,
              const std::string& directory) {
  const ps::SlabLayout layout = LayoutOf(manifest).value();
  Manifest::Part* part = manifest.add_parts();
  part->set_server_id("ps-" + std::to_string(server));
  part->set_directory(directory);
  for (size_t c = 0; c < layout.chunks().size(); ++c) {
    if (static_cast<int>(c) % servers != server) continue;
    const ps::Chunk& chunk = layout.chunks()[c];
    std::vector<float> values(chunk.count), history(chunk.count);
    std::iota(values.begin(), values.end(), chunk.offset);
    std::iota(history.begin(), history.end(), chunk.offset + 1000000);
    ASSERT_TRUE(store
                    .Write({EncodeCutChunk(kJob, kClock, c,
                                           {values, history})},
                           true)
                    .ok());
    part->add_chunks(c);
  }
}

TEST(CheckpointId, ParsesAndRefuses) {
  EXPECT_EQ(ParseCheckpointId("a-b/12").value(),
            (std::pair<std::string, int64_t>("a-b", 12)));
  for (const char* bad : {"", "a", "/3", "a/", "a/x", "a/-1", "a/1.5"})
    EXPECT_EQ(ParseCheckpointId(bad).status().code(),
              absl::StatusCode::kInvalidArgument)
        << bad;
}

TEST(Checkpoint, DoesNotExistBeforeItsManifest) {
  auto store = MakeMemoryStore();
  Manifest manifest = MakeManifest(16384);
  WriteCut(*store, manifest, 0, 1, "own");
  EXPECT_EQ(ReadManifest(*store, CheckpointId(kJob, kClock)).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_TRUE(ListManifests(*store, kJob)->empty());
  ASSERT_TRUE(WriteManifest(*store, manifest).ok());
  EXPECT_EQ(ReadManifest(*store, CheckpointId(kJob, kClock))->clock(), kClock);
  ASSERT_TRUE(DeleteCheckpoint(*store, kJob, kClock).ok());
  EXPECT_TRUE(store->List("")->empty());
}

TEST(CutReader, ReadsBlobsWrittenByTwoServers) {
  const std::string other_dir =
      testing::TempDir() + "/other-" + std::to_string(getpid());
  std::filesystem::remove_all(other_dir);
  auto own = MakeMemoryStore();
  Manifest manifest = MakeManifest(16384);
  {
    auto other = OpenRocksDbStore({.directory = other_dir});
    ASSERT_TRUE(other.ok()) << other.status();
    WriteCut(*own, manifest, 0, 2, "own");
    WriteCut(**other, manifest, 1, 2, other_dir);
  }
  auto reader = CutReader::Open(manifest, *own, "own");
  ASSERT_TRUE(reader.ok()) << reader.status();
  for (int array = 0; array < 2; ++array) {
    for (int blob = 0; blob < 2; ++blob) {
      const int64_t count = (*reader)->layout().blobs()[blob].count;
      std::vector<float> out(count - 5);
      ASSERT_TRUE(
          (*reader)->Read(blob, array, 3, absl::MakeSpan(out)).ok());
      const int64_t first =
          (*reader)->layout().blob_offset(blob) + 3 + 1000000 * array;
      for (size_t i = 0; i < out.size(); ++i)
        ASSERT_EQ(out[i], static_cast<float>(first + i));
    }
  }
  EXPECT_EQ((*reader)->FindBlob("ip/1"), 1);
  EXPECT_EQ((*reader)->FindBlob("conv/0"), -1);
  std::filesystem::remove_all(other_dir);
}

TEST(CutReader, AHoleIsRefused) {
  auto own = MakeMemoryStore();
  Manifest manifest = MakeManifest(16384);
  WriteCut(*own, manifest, 0, 2, "own");  // the other server's part is missing
  const auto reader = CutReader::Open(manifest, *own, "own");
  EXPECT_EQ(reader.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(reader.status().message()), HasSubstr("lacks chunk"));
}

TEST(CutReader, AMissingDirectoryNamesTheServer) {
  auto own = MakeMemoryStore();
  Manifest manifest = MakeManifest(16384);
  WriteCut(*own, manifest, 0, 1, "/nonexistent/store");
  const auto reader = CutReader::Open(manifest, *own, "own");
  EXPECT_EQ(reader.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(reader.status().message()), HasSubstr("ps-0"));
}

}  // namespace
}  // namespace cssp
