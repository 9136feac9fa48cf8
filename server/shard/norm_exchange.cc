#include "server/shard/norm_exchange.h"

#include <algorithm>

namespace cssp {

NormExchange::NormExchange(const ps::SlabLayout& layout,
                           absl::Span<const int> chunk_server,
                           const Place& place, int64_t start_clock)
    : self_(place.self),
      with_loss_(place.with_loss),
      current_(start_clock),
      ranges_(layout.chunks().size()),
      chunks_of_(place.servers),
      expected_(place.servers, 0) {
  constexpr int64_t kBlock = ps::SlabLayout::kBlock;
  const int64_t width = place.width;
  std::vector<int64_t> first(layout.blobs().size());
  int64_t all = 0;
  for (size_t b = 0; b < first.size(); ++b) {
    first[b] = all;
    const ps::BlobSpec& blob = layout.blobs()[b];
    if (!blob.statistic) all += width * ((blob.count + kBlock - 1) / kBlock);
  }
  for (size_t c = 0; c < ranges_.size(); ++c) {
    chunks_of_[chunk_server[c]].push_back(c);
    for (const ps::Segment& segment : layout.chunks()[c].segments) {
      if (layout.blobs()[segment.blob].statistic) continue;
      const ChunkRange range = {
          first[segment.blob] + width * (segment.blob_offset / kBlock),
          width * ((segment.count + kBlock - 1) / kBlock)};
      ranges_[c].push_back(range);
      expected_[chunk_server[c]] += range.count;
    }
  }
  while (decider_ + 1 < place.servers && expected_[decider_] == 0) ++decider_;
  if (with_loss_ && expected_[decider_] > 0) ++expected_[decider_];
  for (Slot& slot : slots_) {
    slot.partials.resize(all);
    slot.filled.resize(place.servers);
    slot.own_chunk.resize(ranges_.size());
  }
}

const NormExchange::Slot* NormExchange::Find(int64_t clock) const {
  if (clock < 0) return nullptr;
  const Slot& slot = slots_[clock % slots_.size()];
  return slot.clock == clock ? &slot : nullptr;
}

NormExchange::Slot* NormExchange::Open(int64_t clock) {
  if (clock < current_ || clock > current_ + 1) return nullptr;
  Slot& slot = slots_[clock % slots_.size()];
  if (slot.clock != clock) {
    slot.clock = clock;
    std::fill(slot.filled.begin(), slot.filled.end(), 0);
    std::fill(slot.own_chunk.begin(), slot.own_chunk.end(), false);
    slot.has_loss = false;
  }
  return &slot;
}

bool NormExchange::AddOwn(int chunk, int64_t clock,
                          absl::Span<const double> partials) {
  Slot* slot = Open(clock);
  if (slot == nullptr) return false;
  const double* from = partials.data();
  if (!slot->own_chunk[chunk]) {
    slot->own_chunk[chunk] = true;
    for (const ChunkRange& range : ranges_[chunk]) {
      std::copy_n(from, range.count, slot->partials.begin() + range.first);
      from += range.count;
      slot->filled[self_] += range.count;
    }
  }
  return slot->filled[self_] == expected_[self_];
}

bool NormExchange::AddLoss(int64_t clock, double loss) {
  Slot* slot = Open(clock);
  if (slot == nullptr) return false;
  if (!slot->has_loss) {
    slot->has_loss = true;
    slot->loss = loss;
    ++slot->filled[self_];
  }
  return slot->filled[self_] == expected_[self_];
}

bool NormExchange::HasLoss(int64_t clock) const {
  const Slot* slot = Find(clock);
  return slot != nullptr && slot->has_loss;
}

bool NormExchange::AddPeer(int server, int64_t clock,
                           absl::Span<const double> partials) {
  if (static_cast<int64_t>(partials.size()) != expected_[server]) return false;
  if (clock < current_) return true;  // repeated, long applied
  Slot* slot = Open(clock);
  if (slot == nullptr) return false;
  const double* from = partials.data();
  for (int chunk : chunks_of_[server]) {
    for (const ChunkRange& range : ranges_[chunk]) {
      std::copy_n(from, range.count, slot->partials.begin() + range.first);
      from += range.count;
    }
  }
  if (with_loss_ && server == decider_) {
    slot->loss = *from;
    slot->has_loss = true;
  }
  slot->filled[server] = expected_[server];
  return true;
}

bool NormExchange::Complete(int64_t clock) const {
  const Slot* slot = Find(clock);
  return slot != nullptr && slot->filled == expected_;
}

absl::Span<const double> NormExchange::All(int64_t clock) const {
  return Find(clock)->partials;
}

std::vector<double> NormExchange::Own(int64_t clock) const {
  std::vector<double> own;
  const Slot* slot = Find(clock);
  if (slot == nullptr || slot->filled[self_] != expected_[self_]) return own;
  own.reserve(expected_[self_]);
  for (int chunk : chunks_of_[self_]) {
    for (const ChunkRange& range : ranges_[chunk]) {
      const auto first = slot->partials.begin() + range.first;
      own.insert(own.end(), first, first + range.count);
    }
  }
  if (DecidesLoss()) own.push_back(slot->loss);
  return own;
}

void NormExchange::Applied(int64_t clock) {
  current_ = std::max(current_, clock + 1);
}

}  // namespace cssp
