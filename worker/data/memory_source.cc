#include "worker/data/memory_source.h"

#include "common/base/logging.h"

namespace cssp {

void MemorySource::Add(Record record) {
  const size_t count = size_t{1} * record.channels * record.height *
                       record.width;
  CHECK_EQ(record.bytes.size() + record.floats.size(), count)
      << "a record's extents and pixels disagree";
  records_.push_back(std::move(record));
}

absl::StatusOr<RecordView> MemorySource::Read(int64_t index,
                                              std::string* /*storage*/) const {
  const Record& record = records_[index];
  RecordView view;
  view.channels = record.channels;
  view.height = record.height;
  view.width = record.width;
  view.bytes = record.bytes;
  view.floats = record.floats;
  view.label = record.label;
  return view;
}

}  // namespace cssp
