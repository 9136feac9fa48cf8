#include "server/shard/chunk_table.h"

namespace cssp {

ChunkState::ChunkState(int id, int64_t count, int history, int workers,
                       int window, const FloatMemory& value_memory)
    : id(id),
      count(count),
      history(history),
      parts(workers * window),
      parked(workers),
      deliveries(workers),
      value_pool(count, value_memory),
      part_pool(count),
      workers(workers),
      window(window) {
  values = value_pool.Take();
  for (BufferRef& array : this->history) array = value_pool.Take();
}

ChunkTable::ChunkTable(const ps::SlabLayout& layout,
                       absl::Span<const int> chunk_server, int self,
                       const Shape& shape)
    : index_(layout.chunks().size(), -1) {
  for (size_t c = 0; c < index_.size(); ++c) {
    if (chunk_server[c] != self) continue;
    const ps::Chunk& chunk = layout.chunks()[c];
    index_[c] = static_cast<int>(chunks_.size());
    chunks_.emplace_back(static_cast<int>(c), chunk.count, shape.num_history,
                         shape.workers, shape.window, shape.value_memory);
    for (const ps::Segment& segment : chunk.segments) {
      const ps::BlobSpec& blob = layout.blobs()[segment.blob];
      chunks_.back().segments.push_back(
          {.offset = segment.chunk_offset,
           .count = segment.count,
           .multipliers = {blob.lr_mult, blob.decay_mult},
           .statistic = blob.statistic,
           .moving_average_fraction = blob.moving_average_fraction,
           .blob = segment.blob});
    }
    bytes_ += chunk.count * int64_t{sizeof(float)} * (1 + shape.num_history);
  }
}

}  // namespace cssp
