// Reads a committed cut by blob, whatever chunks and servers wrote it: how a
// job restarts on another number of servers.
#ifndef CSSP_SERVER_CHECKPOINT_CUT_READER_H_
#define CSSP_SERVER_CHECKPOINT_CUT_READER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/ps/slab_layout.h"
#include "proto/checkpoint.pb.h"
#include "server/checkpoint/checkpoint_io.h"
#include "server/storage/param_store.h"

namespace cssp {

// Thread-confined.  Borrows the caller's own store; opens the other servers'
// directories read-only.
class CutReader {
 public:
  // `own_directory` is where `own` lies.  InvalidArgument when the manifest
  // contradicts itself, NotFound when a part's directory is not there.
  static absl::StatusOr<std::unique_ptr<CutReader>> Open(
      const Manifest& manifest, const ParamStore& own,
      const std::string& own_directory);

  // Arrays of a chunk: values, then history as Caffe has it, then (PER_PUSH)
  // that of each worker.
  int num_arrays() const {
    return 1 + num_history() + num_worker_histories();
  }
  int num_history() const { return manifest_.num_history(); }
  int num_worker_histories() const { return manifest_.worker_histories(); }
  const ps::SlabLayout& layout() const { return layout_; }
  // Index of the blob, -1 when the cut has none of that name.
  int FindBlob(absl::string_view key) const;
  // array < num_arrays().  REQUIRES: the range lies in the blob.
  // Every record's checksum is verified as it is read.
  absl::Status Read(int blob, int array, int64_t offset,
                    absl::Span<float> out);

 private:
  CutReader(Manifest manifest, ps::SlabLayout layout);
  absl::StatusOr<const CutChunk*> LoadChunk(int chunk);

  const Manifest manifest_;
  const ps::SlabLayout layout_;
  std::vector<const ParamStore*> store_of_chunk_;
  std::vector<std::unique_ptr<ParamStore>> opened_;
  // The last chunk read: neighbouring reads hit it.
  CutChunk cached_;
  bool has_cached_ = false;
};

// The layout that a manifest describes.
absl::StatusOr<ps::SlabLayout> LayoutOf(const Manifest& manifest);

}  // namespace cssp

#endif  // CSSP_SERVER_CHECKPOINT_CUT_READER_H_
