// Checkpoints in a ParamStore: records of cuts, and the manifests that make a
// set of records a checkpoint.  Byte-level layout: proto/README.md.
#ifndef CSSP_SERVER_CHECKPOINT_CHECKPOINT_IO_H_
#define CSSP_SERVER_CHECKPOINT_CHECKPOINT_IO_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "proto/checkpoint.pb.h"
#include "server/storage/param_store.h"

namespace cssp {

// One chunk of a cut: array 0 holds values, the others history.
struct CutChunk {
  int64_t clock = 0;
  int chunk = 0;
  std::vector<std::vector<float>> arrays;
};

// "cut/<job>/<clock>/": everything of one cut on this server.
std::string CutPrefix(absl::string_view job_id, int64_t clock);

// The store record of one chunk.  Arrays are of equal length.
StoreEntry EncodeCutChunk(absl::string_view job_id, int64_t clock, int chunk,
                          absl::Span<const absl::Span<const float>> arrays);
// NotFound, DataLoss (checksum, shape).
absl::StatusOr<CutChunk> ReadCutChunk(const ParamStore& store,
                                      absl::string_view job_id, int64_t clock,
                                      int chunk);

// "<job>/<clock>", as people name a checkpoint.
std::string CheckpointId(absl::string_view job_id, int64_t clock);
// InvalidArgument for anything but "<job>/<clock>".
absl::StatusOr<std::pair<std::string, int64_t>> ParseCheckpointId(
    absl::string_view id);

// The manifest is the commit: written last, synchronously.
absl::Status WriteManifest(ParamStore& store, const Manifest& manifest);
absl::StatusOr<Manifest> ReadManifest(const ParamStore& store,
                                      absl::string_view checkpoint_id);
// Of one job (all jobs if empty), oldest clock first within a job.
absl::StatusOr<std::vector<Manifest>> ListManifests(const ParamStore& store,
                                                    absl::string_view job_id);
// The manifest goes first, so that an interrupted deletion leaves no checkpoint
// with holes.  Records of the cut in this store go with it.
absl::Status DeleteCheckpoint(ParamStore& store, absl::string_view job_id,
                              int64_t clock);

}  // namespace cssp

#endif  // CSSP_SERVER_CHECKPOINT_CHECKPOINT_IO_H_
