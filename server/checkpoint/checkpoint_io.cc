#include "server/checkpoint/checkpoint_io.h"

#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/crc.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

// Clocks and chunks are zero-padded so that key order is number order.
std::string CutChunkKey(absl::string_view job_id, int64_t clock, int chunk) {
  return absl::StrFormat("%s%08d", CutPrefix(job_id, clock), chunk);
}

std::string ManifestKey(absl::string_view job_id, int64_t clock) {
  return absl::StrFormat("manifest/%s/%020d", job_id, clock);
}

}  // namespace

std::string CutPrefix(absl::string_view job_id, int64_t clock) {
  return absl::StrFormat("cut/%s/%020d/", job_id, clock);
}

StoreEntry EncodeCutChunk(absl::string_view job_id, int64_t clock, int chunk,
                          absl::Span<const absl::Span<const float>> arrays) {
  ChunkRecord record;
  record.set_clock(clock);
  record.set_chunk(chunk);
  for (absl::Span<const float> array : arrays) {
    const size_t bytes = array.size() * sizeof(float);
    record.add_arrays(array.data(), bytes);
    record.add_crc(Crc32c(array.data(), bytes));
  }
  return {CutChunkKey(job_id, clock, chunk), record.SerializeAsString()};
}

absl::StatusOr<CutChunk> ReadCutChunk(const ParamStore& store,
                                      absl::string_view job_id, int64_t clock,
                                      int chunk) {
  const std::string key = CutChunkKey(job_id, clock, chunk);
  ASSIGN_OR_RETURN(const std::string bytes, store.Get(key));
  ChunkRecord record;
  if (!record.ParseFromString(bytes) || record.clock() != clock ||
      record.chunk() != chunk || record.crc_size() != record.arrays_size() ||
      record.arrays_size() == 0)
    return absl::DataLossError(absl::StrCat("record '", key, "' is malformed"));
  CutChunk out{.clock = clock, .chunk = chunk};
  for (int i = 0; i < record.arrays_size(); ++i) {
    const std::string& array = record.arrays(i);
    if (array.size() != record.arrays(0).size() || array.size() % 4 != 0 ||
        Crc32c(array.data(), array.size()) != record.crc(i))
      return absl::DataLossError(
          absl::StrCat("record '", key, "' array ", i, " fails its checksum"));
    out.arrays.emplace_back(array.size() / sizeof(float));
    std::memcpy(out.arrays.back().data(), array.data(), array.size());
  }
  return out;
}

std::string CheckpointId(absl::string_view job_id, int64_t clock) {
  return absl::StrCat(job_id, "/", clock);
}

absl::StatusOr<std::pair<std::string, int64_t>> ParseCheckpointId(
    absl::string_view id) {
  const size_t slash = id.rfind('/');
  int64_t clock = 0;
  if (slash == absl::string_view::npos || slash == 0 ||
      !absl::SimpleAtoi(id.substr(slash + 1), &clock) || clock < 0)
    return absl::InvalidArgumentError(absl::StrCat(
        "'", id, "' is no checkpoint: give JOB/CLOCK, as psctl describe lists"));
  return std::make_pair(std::string(id.substr(0, slash)), clock);
}

absl::Status WriteManifest(ParamStore& store, const Manifest& manifest) {
  return store.Write({{ManifestKey(manifest.job_id(), manifest.clock()),
                       manifest.SerializeAsString()}},
                     /*sync=*/true);
}

absl::StatusOr<Manifest> ReadManifest(const ParamStore& store,
                                      absl::string_view checkpoint_id) {
  ASSIGN_OR_RETURN(const auto id, ParseCheckpointId(checkpoint_id));
  absl::StatusOr<std::string> bytes =
      store.Get(ManifestKey(id.first, id.second));
  if (absl::IsNotFound(bytes.status()))
    return absl::NotFoundError(
        absl::StrCat("no checkpoint '", checkpoint_id, "'"));
  if (!bytes.ok()) return bytes.status();
  Manifest manifest;
  if (!manifest.ParseFromString(*bytes) || manifest.format() != 1)
    return absl::DataLossError(absl::StrCat(
        "checkpoint '", checkpoint_id, "': manifest is not of format 1"));
  return manifest;
}

absl::StatusOr<std::vector<Manifest>> ListManifests(const ParamStore& store,
                                                    absl::string_view job_id) {
  const std::string prefix =
      job_id.empty() ? "manifest/" : absl::StrCat("manifest/", job_id, "/");
  ASSIGN_OR_RETURN(const std::vector<std::string> keys, store.List(prefix));
  std::vector<Manifest> manifests;
  for (const std::string& key : keys) {
    const absl::StatusOr<std::string> bytes = store.Get(key);
    Manifest manifest;
    // A damaged manifest is no checkpoint; the others still are.
    if (bytes.ok() && manifest.ParseFromString(*bytes))
      manifests.push_back(std::move(manifest));
  }
  return manifests;
}

absl::Status DeleteCheckpoint(ParamStore& store, absl::string_view job_id,
                              int64_t clock) {
  RETURN_IF_ERROR(store.DeletePrefix(ManifestKey(job_id, clock)));
  return store.DeletePrefix(CutPrefix(job_id, clock));
}

}  // namespace cssp
