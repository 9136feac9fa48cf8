#include "server/checkpoint/cut_reader.h"

#include <algorithm>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {

absl::StatusOr<ps::SlabLayout> LayoutOf(const Manifest& manifest) {
  std::vector<ps::BlobSpec> blobs;
  for (const CheckpointBlob& blob : manifest.blobs()) {
    ps::BlobSpec spec;
    spec.key = blob.key();
    spec.shape.assign(blob.shape().begin(), blob.shape().end());
    spec.count = blob.count();
    spec.lr_mult = blob.lr_mult();
    spec.decay_mult = blob.decay_mult();
    spec.statistic = blob.statistic();
    spec.moving_average_fraction = blob.moving_average_fraction();
    blobs.push_back(std::move(spec));
  }
  return ps::SlabLayout::Create(std::move(blobs), manifest.chunk_bytes());
}

CutReader::CutReader(Manifest manifest, ps::SlabLayout layout)
    : manifest_(std::move(manifest)), layout_(std::move(layout)) {}

absl::StatusOr<std::unique_ptr<CutReader>> CutReader::Open(
    const Manifest& manifest, const ParamStore& own,
    const std::string& own_directory) {
  const std::string id = CheckpointId(manifest.job_id(), manifest.clock());
  ASSIGN_OR_RETURN(ps::SlabLayout layout, LayoutOf(manifest));
  auto reader = absl::WrapUnique(new CutReader(manifest, std::move(layout)));
  const int num_chunks = reader->layout_.chunks().size();
  reader->store_of_chunk_.assign(num_chunks, nullptr);
  for (const Manifest::Part& part : manifest.parts()) {
    const ParamStore* store = &own;
    if (part.directory() != own_directory) {
      absl::StatusOr<std::unique_ptr<ParamStore>> opened =
          OpenRocksDbStoreReadOnly(part.directory());
      if (!opened.ok())
        return Annotate(opened.status(),
                        absl::StrCat("checkpoint '", id, "', part of server ",
                                     part.server_id()));
      store = opened->get();
      reader->opened_.push_back(*std::move(opened));
    }
    for (int chunk : part.chunks()) {
      if (chunk < 0 || chunk >= num_chunks)
        return absl::InvalidArgumentError(absl::StrCat(
            "checkpoint '", id, "' names chunk ", chunk, " of ", num_chunks));
      reader->store_of_chunk_[chunk] = store;
    }
  }
  const auto hole = std::find(reader->store_of_chunk_.begin(),
                              reader->store_of_chunk_.end(), nullptr);
  if (hole != reader->store_of_chunk_.end())
    return absl::DataLossError(absl::StrCat(
        "checkpoint '", id, "' lacks chunk ",
        hole - reader->store_of_chunk_.begin()));
  return reader;
}

int CutReader::FindBlob(absl::string_view key) const {
  const auto blobs = layout_.blobs();
  for (size_t i = 0; i < blobs.size(); ++i)
    if (blobs[i].key == key) return static_cast<int>(i);
  return -1;
}

absl::StatusOr<const CutChunk*> CutReader::LoadChunk(int chunk) {
  if (has_cached_ && cached_.chunk == chunk) return &cached_;
  ASSIGN_OR_RETURN(cached_, ReadCutChunk(*store_of_chunk_[chunk],
                                         manifest_.job_id(), manifest_.clock(),
                                         chunk));
  has_cached_ = true;
  const auto size = static_cast<size_t>(layout_.chunks()[chunk].count);
  if (cached_.arrays.size() != static_cast<size_t>(num_arrays()) ||
      cached_.arrays[0].size() != size) {
    has_cached_ = false;
    return absl::DataLossError(absl::StrCat(
        "checkpoint '", CheckpointId(manifest_.job_id(), manifest_.clock()),
        "': chunk ", chunk, " has another size than its manifest says"));
  }
  return &cached_;
}

absl::Status CutReader::Read(int blob, int array, int64_t offset,
                             absl::Span<float> out) {
  const int64_t end = offset + static_cast<int64_t>(out.size());
  for (int c = layout_.first_chunk_of(blob); c <= layout_.last_chunk_of(blob);
       ++c) {
    for (const ps::Segment& segment : layout_.chunks()[c].segments) {
      if (segment.blob != blob) continue;
      const int64_t from = std::max(offset, segment.blob_offset);
      const int64_t to = std::min(end, segment.blob_offset + segment.count);
      if (from >= to) continue;
      ASSIGN_OR_RETURN(const CutChunk* chunk, LoadChunk(c));
      const float* data = chunk->arrays[array].data() + segment.chunk_offset +
                          (from - segment.blob_offset);
      std::copy(data, data + (to - from), out.data() + (from - offset));
    }
  }
  return absl::OkStatus();
}

}  // namespace cssp
