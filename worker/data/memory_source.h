// Records held in memory.
#ifndef CSSP_WORKER_DATA_MEMORY_SOURCE_H_
#define CSSP_WORKER_DATA_MEMORY_SOURCE_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "worker/data/data_source.h"

namespace cssp {

// Immutable while it is read; filled by Add before that.
class MemorySource final : public DataSource {
 public:
  struct Record {
    int channels = 0, height = 0, width = 0;
    std::string bytes;          // one of the two is filled
    std::vector<float> floats;
    int label = 0;
  };

  // REQUIRES: as many elements as the extents say.
  void Add(Record record);

  int64_t size() const override {
    return static_cast<int64_t>(records_.size());
  }
  // The view points into this source; `storage` is not used.
  absl::StatusOr<RecordView> Read(int64_t index,
                                  std::string* storage) const override;

 private:
  std::vector<Record> records_;
};

}  // namespace cssp

#endif  // CSSP_WORKER_DATA_MEMORY_SOURCE_H_
