#include "worker/data/batch.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/philox.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

constexpr uint32_t kSkipDraws = 0x736b6970;  // "skip"

int64_t DrawnSkip(uint64_t seed, uint32_t below) {
  if (below == 0) return 0;
  return BoundedDraw(Philox(seed, {0, 0, 0, kSkipDraws})[0], below);
}

}  // namespace

RecordView Batch::View(const BatchItem& item) const {
  RecordView view;
  view.channels = item.shape.channels;
  view.height = item.shape.height;
  view.width = item.shape.width;
  view.label = item.label;
  const uint8_t* at = raw.data() + item.offset;
  const size_t count = static_cast<size_t>(item.shape.count());
  if (item.floats) {
    view.floats =
        absl::MakeConstSpan(reinterpret_cast<const float*>(at), count);
  } else {
    view.bytes = absl::string_view(reinterpret_cast<const char*>(at), count);
  }
  return view;
}

absl::Status BatchReader::ReadItem(const RecordId& id, uint64_t seed,
                                   Batch* batch, size_t* used,
                                   std::string* storage) const {
  ASSIGN_OR_RETURN(const RecordView record, source_.Read(id.index, storage));
  BatchItem item;
  item.shape = {record.channels, record.height, record.width};
  const absl::Status fits = transformer_.OutputShape(item.shape).status();
  if (!fits.ok())
    return Annotate(fits, absl::StrCat("record ", id.index));
  item.floats = record.bytes.empty();
  item.label = record.label;
  item.id = id;
  item.draw = transformer_.Draw(seed, id, item.shape);
  // Whole cache lines, so that floats are aligned.
  item.offset = (*used + 63) / 64 * 64;
  const size_t bytes = item.floats ? record.floats.size() * sizeof(float)
                                   : record.bytes.size();
  if (batch->raw.size() < item.offset + bytes)
    batch->raw.resize(item.offset + bytes);
  const void* from = item.floats
                         ? static_cast<const void*>(record.floats.data())
                         : static_cast<const void*>(record.bytes.data());
  std::memcpy(batch->raw.data() + item.offset, from, bytes);
  *used = item.offset + bytes;
  batch->items.push_back(std::move(item));
  return absl::OkStatus();
}

void BatchReader::Read(const BatchKey& key, Batch* batch) const {
  batch->key = key;
  batch->items.clear();
  batch->status = absl::OkStatus();
  const RecordOrder order(source_.size(), options_.shuffle, key.seed);
  const int64_t first = key.first + DrawnSkip(key.seed, options_.rand_skip);
  size_t used = 0;
  std::string storage;
  for (int64_t j = 0; j < key.records && batch->status.ok(); ++j) {
    batch->status = ReadItem(order.At(first + j), key.seed, batch, &used,
                             &storage);
  }
}

}  // namespace cssp
